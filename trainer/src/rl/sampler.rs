//! Who draws: the engine, with the adapter as it is now. The model stays loaded; only the adapter is swapped.

use std::collections::HashMap;

use jury_engine::{
    Adapter, AdapterId, Engine, Event, Finish, Group, GroupId, RowOrder, SampleSpec, Sampling,
    Watch,
};

use crate::adapter;
use crate::error::TuneError;
use crate::model::Model;

/// One sample to draw.
pub struct DrawRequest {
    /// Prompt tokens; requests with equal ones share its computation.
    pub prompt: Vec<u32>,
    /// Below 2^53.
    pub seed: u64,
    /// Decides where the text ends.
    pub watch: Box<dyn Watch>,
}

/// What was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The tokens that were drawn, where the model ended its text with its end token: that it ended there was drawn, too, and is
    /// learned.
    pub tokens: Vec<u32>,
    /// The same as text, of which an end token is none.
    pub text: String,
    /// What ended it.
    pub finish: Finish,
}

/// Draws from a policy.
pub trait Sampler {
    /// From here on, draws come from these weights.
    ///
    /// # Errors
    /// Weights that cannot be drawn from.
    fn take_weights(&mut self, model: &Model) -> Result<(), TuneError>;

    /// One result a request, in their order.
    ///
    /// # Errors
    /// Requests that cannot be drawn.
    fn draw(&mut self, requests: Vec<DrawRequest>) -> Result<Vec<Drawn>, TuneError>;
}

/// Jury's engine.
#[derive(Debug)]
pub struct EngineSampler {
    engine: Engine,
    adapter: Option<AdapterId>,
    temperature: f32,
    max_tokens: usize,
}

// === impl EngineSampler ===

impl EngineSampler {
    /// Draws at `temperature` and top-p 1 (at temperature 1 from the policy whose gradient is taken), `max_tokens` at most.
    pub fn new(engine: Engine, temperature: f64, max_tokens: usize) -> EngineSampler {
        EngineSampler { engine, adapter: None, temperature: temperature as f32, max_tokens }
    }

    fn spec(&self, seed: u64, watch: Box<dyn Watch>) -> SampleSpec {
        SampleSpec {
            sampling: Sampling { temperature: self.temperature, top_p: 1.0, seed },
            max_tokens: self.max_tokens,
            watch,
            readout: None,
            last_hidden: false,
            ignores_end: false,
        }
    }
}

impl Sampler for EngineSampler {
    fn take_weights(&mut self, model: &Model) -> Result<(), TuneError> {
        let fits =
            |error: jury_engine::AdapterError| TuneError::setting("adapter", error.to_string());
        let adapter = Adapter::new(RowOrder::HuggingFace, adapter::parts(model)?).map_err(fits)?;
        let id = self.engine.load_adapter(&adapter).map_err(fits)?;
        if let Some(before) = self.adapter.replace(id) {
            self.engine.unload_adapter(before).map_err(fits)?;
        }
        Ok(())
    }

    fn draw(&mut self, requests: Vec<DrawRequest>) -> Result<Vec<Drawn>, TuneError> {
        let n = requests.len();
        // Members of equal prompts form one group; `places` says where each of its samples belongs.
        let mut groups: Vec<(Vec<u32>, Vec<usize>, Vec<SampleSpec>)> = Vec::new();
        for (place, DrawRequest { prompt, seed, watch }) in requests.into_iter().enumerate() {
            let spec = self.spec(seed, watch);
            match groups.iter_mut().find(|(of, _, _)| *of == prompt) {
                Some((_, places, specs)) => {
                    places.push(place);
                    specs.push(spec);
                }
                None => groups.push((prompt, vec![place], vec![spec])),
            }
        }
        let mut places: HashMap<GroupId, Vec<usize>> = HashMap::new();
        for (prompt, of, samples) in groups {
            let group = Group { prompt, samples, cache_salt: None };
            let submitted = match self.adapter {
                Some(adapter) => self.engine.submit_adapted(group, adapter),
                None => self.engine.submit(group),
            };
            let id = submitted.map_err(|error| TuneError::setting("prompt", error.to_string()))?;
            places.insert(id, of);
        }
        let mut drawn: Vec<Option<Drawn>> = vec![None; n];
        let mut events = Vec::new();
        while !self.engine.is_idle() {
            self.engine.step(&mut events);
            for event in events.drain(..) {
                match event {
                    Event::Finished { group, sample, output } => {
                        let place = places.get(&group).and_then(|places| places.get(sample));
                        if let Some(slot) = place.and_then(|&place| drawn.get_mut(place)) {
                            let (text, finish) = (output.text, output.finish);
                            let tokens = output.tokens.into_iter().chain(output.end).collect();
                            *slot = Some(Drawn { tokens, text, finish });
                        }
                    }
                    Event::Failed { error, .. } => {
                        return Err(TuneError::setting("sample", error.to_string()));
                    }
                    Event::Prefilled { .. } | Event::Progress { .. } => {}
                }
            }
        }
        let lost = || TuneError::setting("sample", "the engine ended without it");
        drawn.into_iter().map(|drawn| drawn.ok_or_else(lost)).collect()
    }
}
