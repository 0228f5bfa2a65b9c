//! The engine: owns model, queue, sequences and cache, and turns steps into events.
//!
//! ```text
//! step: describe -> plan -> sequences and groups come and go -> draw -> forward pass -> draw -> speculate -> events
//!                           (admission.rs)                        (batch.rs, flight.rs)       (speculative.rs)
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

/// A loaded model with the samples that it is generating. Owned by one thread; every method returns without waiting
/// for anything but its own arithmetic.
#[derive(Debug)]
pub struct Engine {
    info: ModelInfo,
    numerics: String,
    device: DeviceKind,
    device_name: String,
    shape: Shape,
    scalar_head: Option<ScalarHead>,
    /// Shared with the tokenizers that were asked for.
    tokens: Arc<Tokens>,
    level: SimdLevel,
    pool: ThreadPool,
    compute: Compute,
    store: KvStore,
    tree: PrefixTree,
    context: usize,
    max_sequences: usize,
    prefill_chunk: usize,
    /// Whether few samples draft their next tokens.
    drafts: bool,
    /// Groups that are not done, by age.
    groups: VecDeque<GroupState>,
    sequences: Vec<Sequence>,
    /// The step that is computed while this one's texts are looked at.
    flight: Option<Flight>,
    /// Pages promised to groups and sequences, but not taken yet.
    reserved_pages: usize,
    cancels: Vec<(GroupId, Option<usize>)>,
    next_group: u64,
    /// Tokens that start with a byte, as far as anyone asked.
    starting_with: HashMap<u8, Arc<Vec<u32>>>,
    counters: Counters,
    /// Loaded adapters.
    adapters: HashMap<AdapterId, Arc<Adapted>>,
    next_adapter: u64,
}

/// A group that is not done.
#[derive(Debug)]
struct GroupState {
    id: GroupId,
    prompt: Vec<u32>,
    /// Whether all its tokens are embedded as numbers; else nothing that is computed of it is one.
    is_embedded: bool,
    /// What changes the weights for all its rows, prompt and samples alike.
    adapter: Option<(AdapterId, Arc<Adapted>)>,
    /// With which prompts it may share what is computed.
    realm: Realm,
    stage: Stage,
    /// Samples that are no sequences yet.
    waiting: VecDeque<Waiting>,
    /// Samples that have one.
    live: usize,
    /// The prompt's place in the cache.
    path: prefix::Path,
    /// Nodes of the path that were there before.
    shared_nodes: usize,
    /// Tokens of the prompt that were there before.
    cached_tokens: usize,
    /// Pages of the prompt that are reserved, but not taken yet.
    prompt_pages_left: usize,
    /// Pages that its longest sample may need.
    sequence_pages: usize,
    /// Tokens that a sample may add in its first step, at most.
    first_tokens: usize,
    /// Whether the room for one sample, which every started group keeps, is unused.
    base_free: bool,
    /// After the prompt.
    logits: Vec<f32>,
    /// The state that gave them.
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
    /// Loads a model, a GGUF file or a folder as Hugging Face publishes them, and makes its compute threads.
    ///
    /// # Errors
    /// A file that is missing, foreign, corrupt or of a family that the engine cannot run, or a device that is not
    /// here.
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
        // Such files were cut otherwise by earlier versions.
        let cut = if info.pre_tokenizer == DEFAULT_PRE_TOKENIZER { "-pre2" } else { "" };
        let numerics = format!("{}{cut}", compute.numerics());
        // Elsewhere a row's bits depend on its batch mates: drafts would leave a trace.
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

    /// What makes a score of a hidden state, where the model is a scalar reward model. Its groups draw nothing: their
    /// samples are [`crate::SampleSpec::state_alone`].
    pub fn scalar_head(&self) -> Option<&ScalarHead> {
        self.scalar_head.as_ref()
    }

    /// The numerics class: engines with equal model file and equal class give equal bits.
    pub fn numerics(&self) -> &str {
        &self.numerics
    }

    /// Whether equal prompt, settings and seed give equal bits whatever else runs. False on candle devices, and on cards whose library has no
    /// such products: there a row may be rounded differently with the number of rows beside it.
    pub fn is_bitwise(&self) -> bool {
        self.compute.is_bitwise()
    }

    /// Why the engine computes nothing any more: its card is lost. Every sample has ended with [`crate::SampleError::Lost`]; drop the engine and
    /// load it anew.
    pub fn lost(&self) -> Option<String> {
        self.compute.lost()
    }

    /// What the engine has taken of its card's memory; `None` where it has no card.
    pub fn card_memory(&self) -> Option<crate::cuda::CardMemory> {
        self.compute.card_memory()
    }

    /// What it computes on: with [`DeviceKind::Auto`], what was taken.
    pub fn device(&self) -> DeviceKind {
        self.device
    }

    /// The same in words: a card with its name, the CPU with the kernels' instruction set.
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

    /// Tokens that a prompt and its longest sample may have together.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Tokens that the KV cache holds, in whole pages.
    pub fn room_tokens(&self) -> usize {
        self.store.most_pages() * PAGE_TOKENS
    }

    /// This model's tokenizer, for other threads: tokenising takes no part of the engine's time there.
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::sharing(self.tokens.clone())
    }

    /// Renders the model's chat template and the start of its answer, and tokenises them.
    ///
    /// # Errors
    /// An empty prompt, or a conversation that the template refuses.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(prompt, Turn::ModelSpeaks)
    }

    /// Queues a group. Its samples join the batch as others end.
    ///
    /// # Errors
    /// A group that can never run: too long, too large, or with meaningless settings.
    pub fn submit(&mut self, group: Group) -> Result<GroupId, SubmitError> {
        self.enqueue(group, None)
    }

    /// Queues a group of a loaded adapter. Groups of any adapters, and of none, are computed together.
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

    /// Ends a sample; its place in the batch is free at the next step, which reports it as `Finished` with `Cancelled`.
    /// Unknown and finished samples are ignored.
    pub fn cancel(&mut self, group: GroupId, sample: usize) {
        self.cancels.push((group, Some(sample)));
    }

    /// Ends all samples of a group.
    pub fn cancel_group(&mut self, group: GroupId) {
        self.cancels.push((group, None));
    }

    /// Computes a chunk of waiting prompts and one token of every decoding sample, and appends what happened. Beside
    /// decoding samples the chunk is smaller: four prompt tokens for each of them, but at least 64, and never more than
    /// [`EngineConfig::prefill_chunk`].
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

    /// True when nothing waits and nothing decodes: `step` would do nothing.
    pub fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.cancels.is_empty() && self.flight.is_none()
    }

    /// What the engine has done since it was loaded.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Forgets all stored prompts that no group uses, so that measurements start cold.
    pub fn flush_prefix_cache(&mut self) {
        while let Some(page) = self.tree.evict() {
            self.store.give_back(page);
        }
    }

    /// The logits of the token after a prompt: one for each token of the vocabulary. For tests and measurements;
    /// computes alone, beside the queue.
    ///
    /// # Errors
    /// A prompt that can never run.
    pub fn logits_after(&mut self, prompt: &[u32]) -> Result<Vec<f32>, SubmitError> {
        self.probe(prompt, None)
    }

    /// The same with an adapter.
    ///
    /// # Errors
    /// A prompt that can never run, or an adapter that is not loaded.
    pub fn logits_after_adapted(
        &mut self,
        prompt: &[u32],
        adapter: AdapterId,
    ) -> Result<Vec<f32>, SubmitError> {
        let loaded = self.adapter(adapter)?;
        self.probe(prompt, Some((adapter, loaded)))
    }
}

/// Reads a model's facts without loading its weights, in well under a second: what cannot run is known before a file
/// is hashed. Not looked at: the numbers of the weights.
///
/// # Errors
/// As [`Engine::load`], but for weights that are damaged.
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
/// Files that are missing, foreign or corrupt.
pub fn weight_files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    Ok(ModelFiles::open(path)?.paths())
}
