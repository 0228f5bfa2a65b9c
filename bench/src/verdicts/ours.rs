//! Our side: the embedded cluster of `jury score --items`, called through its client.

use std::time::Instant;

use anyhow::{Context, anyhow};
use futures::{StreamExt, stream};
use jury_client::{Client, ClientConfig, InFlight, RetryPolicy};
use jury_embedded::{Embedded, default_config};
use jury_engine::CardWeights;
use jury_grm::domain::{Item, ScoreRequest};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;
use jury_worker::heads::Heads;

use super::config::{Config, warm_up_item};
use super::round::{Drafts, Round};
use crate::models::BenchModel;
use crate::waits::Waits;
use prometheus_client::registry::Registry;

/// Our side.
pub struct Ours<'a> {
    pub model: &'a BenchModel,
    pub config: &'a Config,
    /// Whether to draft tokens when there are few samples.
    pub drafts: bool,
    pub waits: &'a Waits,
}

// === impl Ours ===

impl Ours<'_> {
    /// Loads the model, judges one unmeasured item, then all of these items, measured.
    pub fn judge(&self, items: &[Item], seed: u64, meter: &Meter) -> Result<Round, Failed> {
        let model = ModelConfig {
            name: self.model.path.display().to_string(),
            adapters: Vec::new(),
            threads: Some(self.config.threads),
            device: self.config.device,
            card_weights: CardWeights::Bfloat16,
            drafts: self.drafts,
            cache: Some(self.config.cache.clone()),
        };
        let backend = model.load(meter)?;
        let cluster = Embedded::start(
            backend.clone(),
            Heads::default(),
            default_config(),
            &mut Registry::default(),
        )
        .or_exit(Exit::Internal)?;
        let config = ClientConfig {
            in_flight: InFlight::Fixed(self.config.at_once),
            retry: RetryPolicy::NEVER,
            ..ClientConfig::default()
        };
        let client = Client::new(cluster.serve_in_process(), config);
        let request = |item: &Item| ScoreRequest {
            include_samples: true,
            ..self.config.request(item.clone(), seed)
        };
        self.waits.wait(async {
            client.score(self.config.short(request(&warm_up_item()))).await?;
            let requests: Vec<_> = items.iter().map(request).collect();
            let counters = backend.counters();
            let started = Instant::now();
            let mut answers = client.score_many(stream::iter(requests)).boxed();
            let mut round = Round::default();
            while let Some((number, answer)) = answers.next().await {
                let of_item = || format!("item {number}");
                let verdict = answer.with_context(of_item).or_exit(Exit::Internal)?;
                let samples = verdict.samples.as_deref().unwrap_or_default();
                if let Some(lost) = samples.iter().find_map(not_judged) {
                    return Err(Failed::new(
                        Exit::BadData,
                        anyhow!("item {}: {lost}", verdict.item_id),
                    ));
                }
                round.add(samples, &verdict.rewards);
            }
            round.seconds = started.elapsed().as_secs_f64();
            round.drafts = self.drafts.then(|| Drafts::between(&counters, &backend.counters()));
            Ok(round)
        })?
    }
}

/// Why a sample was not drawn to its end, if so. A round with such a sample is not a valid measurement.
fn not_judged(sample: &jury_grm::domain::Sample) -> Option<String> {
    sample.failure().filter(|failure| !failure.kind.is_parse()).map(ToString::to_string)
}
