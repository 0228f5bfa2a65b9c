//! The peer: the same loop over llama-server.
//!
//! Plan, prompts, tokens, parser and vote are ours, so the server does only the work of our engine. An item's k
//! samples are sent at once. A connection is closed as soon as its samples have their scores, which frees their
//! slots.
//!
//! ```text
//! setting   how it is started and asked     completion   one request     trials   which setting is the best
//! ```

mod completion;
mod setting;
mod trials;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use anyhow::{Context, anyhow};
use jury_engine::Tokenizer;
use jury_grm::domain::{Counts, Item, ScoreRequest};
use jury_grm::plan::plan;
use jury_grm::prompt::{PromptInput, Template, Variant};
use jury_grm::vote::{Ballot, Rule, vote};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::model::load_failed;
use jury_worker::backend::engine::engine_prompt;

use self::completion::{Completion, Drawn};
pub use self::setting::{Drafting, Setting};
pub use self::trials::Trials;
use super::Round;
use super::config::{Config, warm_up_item};
use super::server::Server;
use crate::models::BenchModel;
use crate::programs::{Found, Programs};

const PROGRAM: &str = "llama-server";
/// A slot's context is a multiple of this.
const CONTEXT_STEP: usize = 256;

/// The peer's program and its settings.
pub struct Peer<'a> {
    pub found: Found,
    programs: &'a Programs,
    config: &'a Config,
    model: &'a Path,
    tokenizer: Tokenizer,
    template: Template,
    agent: ureq::Agent,
    /// Context of one slot, in tokens.
    context: usize,
}

/// An item's samples by index, and the rewards from their vote.
struct Judged {
    drawn: Drawn,
    rewards: Vec<Option<f64>>,
}

// === impl Peer ===

impl<'a> Peer<'a> {
    /// Finds the program, and determines how much context these items need.
    pub fn find(
        named: Option<PathBuf>,
        tools: Option<&Path>,
        programs: &'a Programs,
        model: &'a BenchModel,
        config: &'a Config,
        items: &[Item],
    ) -> Result<Self, Failed> {
        let found = programs.find_llama_cpp(PROGRAM, named, tools)?;
        // The server is on this machine, so no proxy is used. Error statuses stay errors.
        let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
        let mut peer = Self {
            found,
            programs,
            config,
            model: &model.path,
            tokenizer: Tokenizer::load(&model.path).map_err(load_failed)?,
            template: Template::builtin(),
            agent,
            context: 0,
        };
        let mut longest = 0;
        for item in items.iter().chain([&warm_up_item()]) {
            let request = config.request(item.clone(), 0);
            let prompts = peer.prompts(&request).or_exit(Exit::Internal)?;
            longest = prompts.values().map(Vec::len).max().unwrap_or(0).max(longest);
        }
        // Another seed shows the responses in another order, which may take a few more tokens.
        let room = longest + config.settings.max_critique_tokens as usize + CONTEXT_STEP;
        peer.context = room.next_multiple_of(CONTEXT_STEP);
        Ok(peer)
    }

    /// Starts the server, judges one unmeasured item, then all of these items, measured.
    pub fn judge(&self, setting: Setting, items: &[Item], seed: u64) -> Result<Round, Failed> {
        let arguments = setting.arguments(self.config, self.model, self.context);
        let server = Server::start(self.programs, &self.found.program, &arguments, &self.agent)?;
        let warm_up = self.config.short(self.config.request(warm_up_item(), seed));
        let requests: Vec<_> =
            items.iter().map(|item| self.config.request(item.clone(), seed)).collect();
        let judged = self
            .judge_all(&server.address, setting, &[warm_up])
            .and_then(|_| self.judge_all(&server.address, setting, &requests));
        judged.map_err(|error| server.failed(&error))
    }

    /// Judges as many items at once as planned. Each of the parallel loops ends at its first error.
    fn judge_all(
        &self,
        address: &str,
        setting: Setting,
        requests: &[ScoreRequest],
    ) -> anyhow::Result<Round> {
        let next = AtomicUsize::new(0);
        let one_after_the_other = || -> anyhow::Result<Vec<Judged>> {
            let mut judged = Vec::new();
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let id = || format!("item {:?}", request.item.id);
                judged.push(self.verdict(address, setting, request).with_context(id)?);
            }
            Ok(judged)
        };
        let started = Instant::now();
        let judged = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.config.at_once).map(|_| scope.spawn(one_after_the_other)).collect();
            threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
        })?;
        let mut round = Round { seconds: started.elapsed().as_secs_f64(), ..Round::default() };
        for Judged { drawn, rewards } in judged.iter().flatten() {
            round.add(&drawn.samples, rewards);
            round.surplus_tokens += drawn.surplus_tokens;
        }
        Ok(round)
    }

    fn verdict(
        &self,
        address: &str,
        setting: Setting,
        request: &ScoreRequest,
    ) -> anyhow::Result<Judged> {
        let prompts = self.prompts(request)?;
        let samples_plan = plan(request);
        let mut asked: Vec<Completion<'_>> = Vec::new();
        for spec in &samples_plan.samples {
            let prompt = prompts.get(&spec.order).context("an order without a prompt")?;
            let same = asked.iter_mut().find(|asked| asked.specs[0].order == spec.order);
            match same.filter(|_| setting.grouped) {
                Some(asked) => asked.specs.push(spec),
                None => asked.push(Completion { specs: vec![spec], prompt }),
            }
        }
        let url = &format!("http://{address}/completion");
        let all_drawn = std::thread::scope(|scope| {
            let draw = |asked: Completion<'_>| asked.draw(&self.agent, url, &request.settings);
            let threads: Vec<_> =
                asked.into_iter().map(|asked| scope.spawn(move || draw(asked))).collect();
            threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
        })?;
        let mut drawn = Drawn::default();
        for of_request in all_drawn {
            drawn.samples.extend(of_request.samples);
            drawn.surplus_tokens += of_request.surplus_tokens;
        }
        drawn.samples.sort_by_key(|sample| sample.spec.index);
        // As in the coordinator, too few valid samples give no rewards.
        let ballot = if Counts::of(&drawn.samples, 0).valid >= request.effective_min_samples() {
            vote(&samples_plan.duplicate_of, &drawn.samples, Rule::Mean)
        } else {
            Ballot::none(request.item.responses.len(), Rule::Mean)
        };
        let rewards = ballot.rewards;
        Ok(Judged { drawn, rewards })
    }

    /// The tokens of every order, as the embedded judge would produce them.
    fn prompts(&self, request: &ScoreRequest) -> anyhow::Result<BTreeMap<Vec<usize>, Vec<u32>>> {
        let mut prompts = BTreeMap::new();
        for spec in plan(request).samples {
            if prompts.contains_key(&spec.order) {
                continue;
            }
            let rendered = self.template.render(&PromptInput {
                item: &request.item,
                order: &spec.order,
                scale: request.settings.scale,
                variant: Variant::Plain,
            })?;
            let tokens = self.tokenizer.encode(&engine_prompt(&rendered.messages))?;
            prompts.insert(spec.order, tokens);
        }
        Ok(prompts)
    }
}

// === private ===

fn join<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a request panicked")))
}
