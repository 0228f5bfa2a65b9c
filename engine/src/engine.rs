//! The engine: owns model, queue, sequences and cache, and turns steps into events.
//!
//! ```text
//! step: describe -> plan -> admit and retire groups and samples -> draw -> forward pass -> draw -> speculate -> events
//!                           (admission.rs)                         (batch.rs, flight.rs)       (speculative.rs)
//! ```

mod adapters;
mod admission;
mod batch;
mod describe;
mod draw;
mod flight;
mod plan;
mod speculative;
mod submit;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapter::AdapterId;
use crate::compute::Compute;
use crate::config::{DeviceKind, EngineConfig};
use crate::error::{LoadError, PromptError, SubmitError};
use crate::event::{Counters, Event};
use crate::files::ModelFiles;
use crate::head::ScalarHead;
use crate::info::ModelInfo;
use crate::machine;
use crate::model::adapted::Adapted;
use crate::model::kv::{KvStore, PAGE_TOKENS};
use crate::model::{self, Shape};
use crate::prefix::{self, PrefixTree, Realm};
use crate::prompt::Prompt;
use crate::request::{Group, GroupId};
use crate::sequence::{Sequence, Waiting};
use crate::tokenizer::Tokenizer;
use crate::tokens::{DEFAULT_PRE_TOKENIZER, Tokens, Turn};
use flight::Flight;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::thread_pool::ThreadPool;

/// A loaded model and the samples it is generating. Owned by one thread; no method waits for anything except its own
/// arithmetic.
#[derive(Debug)]
pub struct Engine {
    /// What callers may know about the model.
    info: ModelInfo,
    /// See [`Engine::numerics`].
    numerics: String,
    /// Never [`DeviceKind::Auto`].
    device: DeviceKind,
    /// The device in words, see [`Engine::device_name`].
    device_name: String,
    /// Sizes and settings of the model's layers.
    shape: Shape,
    /// Set for scalar reward models only.
    scalar_head: Option<ScalarHead>,
    /// Shared with all [`Tokenizer`]s that were handed out.
    tokens: Arc<Tokens>,
    /// Instruction set of the CPU kernels.
    level: SimdLevel,
    /// Threads of the CPU kernels.
    pool: ThreadPool,
    /// The weights, and the device that computes with them.
    compute: Compute,
    /// Hands out pages of keys and values.
    store: KvStore,
    /// The prompts whose keys and values are stored.
    tree: PrefixTree,
    /// Limit of prompt and sample together, in tokens.
    context: usize,
    /// Samples that decode at once, at least 1.
    max_sequences: usize,
    /// Most prompt tokens of a step, at least 1.
    prefill_chunk: usize,
    /// Whether steps of few samples draft their next tokens.
    drafts: bool,
    /// Unfinished groups, oldest first.
    groups: VecDeque<GroupState>,
    /// Samples that decode.
    sequences: Vec<Sequence>,
    /// The step that is being computed while the texts of the previous one are processed.
    flight: Option<Flight>,
    /// Pages reserved for groups and sequences but not yet taken.
    reserved_pages: usize,
    /// Cancellations to apply at the next step; `None` means the whole group.
    cancels: Vec<(GroupId, Option<usize>)>,
    /// The next [`GroupId`].
    next_group: u64,
    /// Tokens by their first byte, for the bytes asked for so far.
    starting_with: HashMap<u8, Arc<Vec<u32>>>,
    counters: Counters,
    /// Loaded adapters.
    adapters: HashMap<AdapterId, Arc<Adapted>>,
    /// The next [`AdapterId`].
    next_adapter: u64,
}

/// An unfinished group.
#[derive(Debug)]
struct GroupState {
    id: GroupId,
    prompt: Vec<u32>,
    /// Whether the embeddings of all its tokens are finite; if not, neither are its results.
    is_embedded: bool,
    /// Changes the weights for all its rows, prompt and samples alike.
    adapter: Option<(AdapterId, Arc<Adapted>)>,
    /// Limits the prompts that it may share computed tokens with.
    realm: Realm,
    stage: Stage,
    /// Samples that are not sequences yet.
    waiting: VecDeque<Waiting>,
    /// Number of its samples that decode.
    live: usize,
    /// The prompt's path in the prefix cache.
    path: prefix::Path,
    /// Nodes of the path that were already in the cache.
    shared_nodes: usize,
    /// Tokens of the prompt that were already in the cache.
    cached_tokens: usize,
    /// Pages of the prompt that are reserved but not yet taken.
    prompt_pages_left: usize,
    /// Pages that its longest sample may need.
    sequence_pages: usize,
    /// Most tokens that a sample may add in its first step.
    first_tokens: usize,
    /// Whether the room for one sample, which every started group reserves, is unused.
    base_free: bool,
    /// Logits after the prompt.
    logits: Vec<f32>,
    /// The hidden state that gave those logits.
    last_hidden: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Prefilling,
    Ready,
}

// === impl Engine ===

impl Engine {
    /// Loads a model (a GGUF file, or a folder as published on Hugging Face) and starts its compute threads.
    ///
    /// # Errors
    /// The file is missing, not a model, corrupt, or of a family that the engine cannot run; or the device does not
    /// exist on this machine.
    pub fn load(path: &Path, config: &EngineConfig) -> Result<Engine, LoadError> {
        let files = ModelFiles::open(path)?;
        let shape = Shape::read(&files)?;
        model::runnable(&shape).map_err(|why| files.unsupported(why))?;
        let tokens = Arc::new(Tokens::of_files(&files)?);
        tokens.check(shape.vocabulary).map_err(|why| files.corrupt(why))?;
        let mut info = model::describe(&files, &shape)?.with_tokens(&tokens);
        let scalar_head = ScalarHead::load(&files, &shape)?;
        let level = SimdLevel::detect();
        let compute = Compute::load(config, &files, &shape, level)?;
        info.kv_bytes_per_token = compute.kv_bytes_per_token(&shape);
        let threads = config.threads.unwrap_or_else(machine::threads);
        let pool =
            ThreadPool::new(threads).map_err(|error| LoadError::Device(error.to_string()))?;
        let store = compute.store(&shape, config);
        let context = config.context_of(shape.context_length);
        let (device, device_name) = (compute.device(), compute.device_name(level));
        tracing::info!(
            model = info.name,
            device = device_name,
            threads,
            max_sequences = config.sequences_on(device),
            kv_tokens = store.most_pages() * PAGE_TOKENS,
            "model loaded"
        );
        if info.pre_tokenizer_is_assumed {
            tracing::warn!(
                model = info.name,
                pre_tokenizer = info.pre_tokenizer,
                "the file does not name its pre-tokenizer (tokenizer.ggml.pre): it is a guess, and tokens may be \
                 others than the model was trained on"
            );
        }
        if tokens.len() > shape.vocabulary {
            tracing::warn!(
                model = info.name,
                tokens = tokens.len(),
                known = shape.vocabulary,
                "the tokenizer has tokens that the model does not know: prompts with one are refused"
            );
        }
        // Earlier versions split such files differently.
        let cut = if info.pre_tokenizer == DEFAULT_PRE_TOKENIZER { "-pre2" } else { "" };
        let numerics = format!("{}{cut}", compute.numerics());
        // On other devices a row's bits depend on its batch, so drafts would change the samples.
        let drafts = config.drafts && compute.drafts();
        Ok(Engine {
            info,
            numerics,
            device,
            device_name,
            shape,
            scalar_head,
            tokens,
            level,
            pool,
            compute,
            store,
            tree: PrefixTree::default(),
            context,
            max_sequences: config.sequences_on(device),
            prefill_chunk: config.prefill_chunk_on(device),
            drafts,
            groups: VecDeque::new(),
            sequences: Vec::new(),
            flight: None,
            reserved_pages: 0,
            cancels: Vec::new(),
            next_group: 0,
            starting_with: HashMap::new(),
            counters: Counters::default(),
            adapters: HashMap::new(),
            next_adapter: 0,
        })
    }

    /// Facts about the model.
    pub fn model(&self) -> &ModelInfo {
        &self.info
    }

    /// Turns a hidden state into a score, if the model is a scalar reward model. Groups of such a model draw nothing:
    /// their samples are [`crate::SampleSpec::state_alone`].
    pub fn scalar_head(&self) -> Option<&ScalarHead> {
        self.scalar_head.as_ref()
    }

    /// The numerics class: engines with the same model file and the same class give equal bits.
    pub fn numerics(&self) -> &str {
        &self.numerics
    }

    /// Whether equal prompt, settings and seed give equal bits whatever else runs. False on candle devices, and on
    /// cards whose library lacks suitable products: there rounding may depend on the number of rows computed together.
    pub fn is_bitwise(&self) -> bool {
        self.compute.is_bitwise()
    }

    /// Why the engine has stopped computing: its card is lost. Every sample has ended with
    /// [`crate::SampleError::Lost`]; drop the engine and load it again.
    pub fn lost(&self) -> Option<String> {
        self.compute.lost()
    }

    /// Memory that the engine has taken on its card; `None` without a card.
    pub fn card_memory(&self) -> Option<crate::cuda::CardMemory> {
        self.compute.card_memory()
    }

    /// The device in use; with [`DeviceKind::Auto`], the one that was chosen.
    pub fn device(&self) -> DeviceKind {
        self.device
    }

    /// The device in words: a card's name, or the CPU with the kernels' instruction set.
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// Samples that decode at once.
    pub fn max_sequences(&self) -> usize {
        self.max_sequences
    }

    /// The instruction set that the kernels use.
    pub fn kernels(&self) -> &str {
        self.level.name()
    }

    /// Limit in tokens for a prompt plus its longest sample.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Tokens that the KV cache can hold, counted in whole pages.
    pub fn room_tokens(&self) -> usize {
        self.store.most_pages() * PAGE_TOKENS
    }

    /// This model's tokenizer, for use on other threads, so that tokenising takes none of the engine's time.
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::sharing(self.tokens.clone())
    }

    /// Renders the model's chat template, including the start of its answer, and tokenises the result.
    ///
    /// # Errors
    /// The prompt is empty, or the template rejects the conversation.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(prompt, Turn::ModelSpeaks)
    }

    /// Queues a group. Its samples join the batch as others end.
    ///
    /// # Errors
    /// The group can never run: it is too long, too large, or has invalid settings.
    pub fn submit(&mut self, group: Group) -> Result<GroupId, SubmitError> {
        self.enqueue(group, None)
    }

    /// Queues a group that uses a loaded adapter. Groups with any adapter, or none, are computed together.
    ///
    /// # Errors
    /// As [`Engine::submit`], and an adapter that is not loaded.
    pub fn submit_adapted(
        &mut self,
        group: Group,
        adapter: AdapterId,
    ) -> Result<GroupId, SubmitError> {
        let loaded = self.adapter(adapter)?;
        self.enqueue(group, Some((adapter, loaded)))
    }

    /// Ends a sample. The next step frees its slot in the batch and reports it as `Finished` with `Cancelled`.
    /// Unknown and finished samples are ignored.
    pub fn cancel(&mut self, group: GroupId, sample: usize) {
        self.cancels.push((group, Some(sample)));
    }

    /// Ends all samples of a group.
    pub fn cancel_group(&mut self, group: GroupId) {
        self.cancels.push((group, None));
    }

    /// Computes a chunk of waiting prompts and one token of every decoding sample, and appends what happened to
    /// `events`. While samples decode, the chunk is smaller: four prompt tokens for each of them, but at least 64, and
    /// never more than [`EngineConfig::prefill_chunk`].
    pub fn step(&mut self, events: &mut Vec<Event>) {
        self.counters.steps += u64::from(!self.is_idle());
        self.apply_cancels(events);
        let plan = plan::plan(&self.describe());
        let joined = self.admit(&plan, events);
        self.draw(&joined, true, events);
        self.compute(&plan.prefill, events);
        self.forget_finished_groups();
        self.speculate();
    }

    /// Whether nothing waits and nothing decodes, so that `step` would do nothing.
    pub fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.cancels.is_empty() && self.flight.is_none()
    }

    /// Counters since the engine was loaded.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Drops all cached prompts that no group uses, so that measurements start cold.
    pub fn flush_prefix_cache(&mut self) {
        while let Some(page) = self.tree.evict() {
            self.store.give_back(page);
        }
    }

    /// The logits of the token after a prompt, one for each token of the vocabulary. For tests and measurements.
    ///
    /// Call it on an idle engine: it steps the engine until the prompt is computed, and discards the events of other
    /// groups.
    ///
    /// # Errors
    /// The prompt can never run, or the card is lost.
    pub fn logits_after(&mut self, prompt: &[u32]) -> Result<Vec<f32>, SubmitError> {
        self.probe(prompt, None)
    }

    /// As [`Engine::logits_after`], with an adapter.
    ///
    /// # Errors
    /// The prompt can never run, the adapter is not loaded, or the card is lost.
    pub fn logits_after_adapted(
        &mut self,
        prompt: &[u32],
        adapter: AdapterId,
    ) -> Result<Vec<f32>, SubmitError> {
        let loaded = self.adapter(adapter)?;
        self.probe(prompt, Some((adapter, loaded)))
    }
}

/// Reads a model's facts without loading its weights, in well under a second, so that a model that cannot run is
/// rejected before its file is hashed. The values of the weights are not read.
///
/// # Errors
/// As [`Engine::load`], except that damaged weights go unnoticed.
pub fn inspect(path: &Path) -> Result<ModelInfo, LoadError> {
    let files = ModelFiles::open(path)?;
    let shape = Shape::read(&files)?;
    model::runnable(&shape).map_err(|why| files.unsupported(why))?;
    let tokens = Tokens::of_files(&files)?;
    tokens.check(shape.vocabulary).map_err(|why| files.corrupt(why))?;
    model::Weights::check(&files, &shape)?;
    Ok(model::describe(&files, &shape)?.with_tokens(&tokens))
}

/// All files of a model's weights: one, the parts of a split GGUF file, or the shards of a folder.
///
/// # Errors
/// Files are missing, not a model, or corrupt.
pub fn weight_files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    Ok(ModelFiles::open(path)?.paths())
}
