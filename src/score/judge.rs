//! The judge: a cluster at an endpoint, or one embedded in this process. Both are called through the same client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jury_client::{Client, ClientConfig, ClientError, InFlight, RetryPolicy};
use jury_embedded::{Embedded, default_config};
use jury_grm::domain::{ScoreRequest, Verdict};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;
use jury_worker::backend::Backend;

use super::at_endpoint;
use super::config::{Judge, Output};
use super::meta::ServedMeta;
use super::pair::load_pair;
use crate::args::HeadArgs;
use crate::coordinator::template;
use crate::heads::heads;
use crate::tls::connector_to;
use prometheus_client::registry::Registry;

/// Time past the budget for an embedded answer: the engine may leave this thread little CPU time.
const EMBEDDED_GRACE: Duration = Duration::from_secs(30);

/// A running judge.
pub enum Judges {
    Embedded { client: Client, _cluster: Embedded },
    Endpoint { client: Client, endpoint: String },
}

/// Loads the model and starts a cluster over it.
fn embedded(
    model: &ModelConfig,
    template_file: Option<&Path>,
    meta: Option<&ServedMeta>,
    meter: &Meter,
) -> Result<Embedded, Failed> {
    let mut config = default_config();
    if let Some(path) = template_file {
        config.template = template(path)?;
    }
    let mut files = Vec::new();
    let mut ranks: Option<Arc<dyn Backend>> = None;
    let backend = match meta {
        None => model.load(meter)?,
        Some(ServedMeta::Head(file)) => {
            files.push(file.clone());
            model.load(meter)?
        }
        Some(ServedMeta::Model { model: name, head }) => {
            let meta = ModelConfig { name: name.clone(), adapters: Vec::new(), ..model.clone() };
            let (draws, loaded) = load_pair(model, (&meta, head.as_deref()), meter)?;
            ranks = Some(loaded);
            draws
        }
    };
    let heads = heads(&HeadArgs { files }, backend.as_ref())?;
    let registry = &mut Registry::default();
    Embedded::start_with_meta(backend, heads, ranks, config, registry).or_exit(Exit::Usage)
}

// === impl Judges ===

impl Judges {
    /// Loads the model and starts the embedded cluster, or makes a client for the endpoint.
    pub fn open(judge: &Judge, meter: &Meter) -> Result<Self, Failed> {
        Self::open_for(judge, InFlight::Fixed(1), RetryPolicy::default(), meter)
    }

    /// The same, for a batch with `output.in_flight` items judged at once.
    pub fn open_for_batch(judge: &Judge, output: &Output, meter: &Meter) -> Result<Self, Failed> {
        // A batch can wait: a coordinator that is unreachable for a while delays items, but none fails.
        let retry = RetryPolicy { renews_budgets: true, ..RetryPolicy::default() };
        Self::open_for(judge, output.in_flight, retry, meter)
    }

    fn open_for(
        judge: &Judge,
        in_flight: InFlight,
        retry: RetryPolicy,
        meter: &Meter,
    ) -> Result<Self, Failed> {
        let config = ClientConfig { in_flight, retry, ..ClientConfig::default() };
        match judge {
            Judge::Endpoint { address: endpoint, tls, token } => {
                let config = ClientConfig { token: token.clone(), ..config };
                let connector = connector_to(endpoint, tls)?;
                let channel = connector.connect(endpoint).or_exit(Exit::Usage)?;
                let client = Client::new(channel, config);
                Ok(Self::Endpoint { client, endpoint: endpoint.clone() })
            }
            Judge::Embedded { model, template, meta } => {
                let cluster = embedded(model, template.as_deref(), meta.as_ref(), meter)?;
                let channel = cluster.serve_in_process();
                let config =
                    ClientConfig { grace: EMBEDDED_GRACE, retry: RetryPolicy::NEVER, ..config };
                Ok(Self::Embedded { client: Client::new(channel, config), _cluster: cluster })
            }
        }
    }

    /// Judges one item, and shows its progress.
    pub async fn score(&self, request: ScoreRequest, meter: &Meter) -> Result<Verdict, Failed> {
        let client = match self {
            Self::Embedded { client, .. } => client,
            Self::Endpoint { client, endpoint } => {
                meter.stage(&format!("waiting for {endpoint}"));
                client
            }
        };
        let judged = client.score_with_progress(request, |step| meter.judging(step)).await;
        judged.map_err(|error| self.failed(error))
    }

    /// The client for calls to the judge.
    pub fn client(&self) -> &Client {
        match self {
            Self::Embedded { client, .. } | Self::Endpoint { client, .. } => client,
        }
    }

    /// Adds the endpoint to the error of a failed call.
    pub fn failed(&self, error: ClientError) -> Failed {
        match self {
            Self::Embedded { .. } => error.into(),
            Self::Endpoint { endpoint, .. } => at_endpoint(error, endpoint),
        }
    }
}
