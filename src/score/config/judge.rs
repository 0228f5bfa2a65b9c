//! Who judges: a model in this process, or a cluster at an endpoint.

use std::path::PathBuf;

use jury_client::Token;
use jury_engine::DeviceKind;
use jury_terminal::model::ModelConfig;

use super::ServedMeta;
use crate::args::{ClientTlsArgs, DEFAULT_MODEL, JudgeArgs, ModelArgs, Refused};

/// Who judges.
#[derive(Debug, Clone, PartialEq)]
pub enum Judge {
    /// A coordinator and a worker inside this process.
    Embedded {
        model: ModelConfig,
        template: Option<PathBuf>,
        /// What ranks samples, if anything does.
        meta: Option<ServedMeta>,
    },
    /// A running coordinator.
    Endpoint {
        address: String,
        tls: ClientTlsArgs,
        /// On whose behalf it is called, if it asks.
        token: Option<Token>,
    },
}

impl TryFrom<JudgeArgs> for Judge {
    type Error = Refused;

    fn try_from(args: JudgeArgs) -> Result<Self, Refused> {
        let Some(endpoint) = args.endpoint else {
            if args.tls != ClientTlsArgs::default() {
                let problem = "certificates are for an --endpoint; name it, or leave them out";
                return Err(Refused::new("--tls-ca and its like", problem));
            }
            if args.token.token.is_some() || args.token.token_file.is_some() {
                let problem = "a token is for an --endpoint; name it, or leave it out";
                return Err(Refused::new("--token", problem));
            }
            let model = ModelArgs {
                model: args.model.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
                adapters: args.adapter.into_iter().collect(),
                threads: args.threads,
                device: args.device.unwrap_or(DeviceKind::Auto),
                card: args.card,
                cache: args.cache,
            };
            let (model, template) = (model.try_into()?, args.template);
            return Ok(Self::Embedded { model, template, meta: None });
        };
        if args.template.is_some() {
            let problem =
                "with --endpoint the coordinator's own template counts; start it with --template";
            return Err(Refused::new("--template", problem));
        }
        if args.adapter.is_some() {
            let problem =
                "with --endpoint the workers have their adapters; name one's model with --model";
            return Err(Refused::new("--adapter", problem));
        }
        if args.threads.is_some() {
            let problem = "with --endpoint the workers have their own threads; leave it out";
            return Err(Refused::new("--threads", problem));
        }
        if args.device.is_some() {
            let problem = "with --endpoint the workers have their own devices; leave it out";
            return Err(Refused::new("--device", problem));
        }
        if args.card.card_weights.is_some() {
            let problem = "with --endpoint the workers keep their own weights; leave it out";
            return Err(Refused::new("--card-weights", problem));
        }
        let token = args.token.for_endpoint(&endpoint)?;
        Ok(Self::Endpoint { address: endpoint, tls: args.tls, token })
    }
}
