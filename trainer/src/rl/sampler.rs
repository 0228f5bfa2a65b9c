//! Draws samples with the engine and the current adapter. The model stays loaded; only the adapter is replaced.

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
    /// Prompt tokens; requests with equal ones share the computation.
    pub prompt: Vec<u32>,
    /// Below 2^53.
    pub seed: u64,
    /// Decides where the text ends.
    pub watch: Box<dyn Watch>,
}

/// The drawn sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The drawn tokens. If the model ended its text with its end token, that token is included: it was drawn as
    /// well, and is trained on.
    pub tokens: Vec<u32>,
    /// The same as text, without the end token.
    pub text: String,
    /// What ended it.
    pub finish: Finish,
}

/// Draws from a policy.
pub trait Sampler {
    /// From now on, samples are drawn with these weights.
    ///
    /// # Errors
    /// If the weights cannot be used for drawing.
    fn take_weights(&mut self, model: &Model) -> Result<(), TuneError>;

    /// Returns one result per request, in order.
    ///
    /// # Errors
    /// If a request cannot be drawn.
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
    /// Draws with `temperature` and top-p 1 (at temperature 1, from the policy whose gradient is computed), up to
    /// `max_tokens` tokens.
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
        // Members with equal prompts form one group; `places` says which request each of its samples belongs to.
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
