//! The judge: a model in this process, or a cluster at an endpoint.

use std::path::PathBuf;

use jury_client::Token;
use jury_engine::DeviceKind;
use jury_terminal::model::ModelConfig;

use super::ServedMeta;
use crate::args::{ClientTlsArgs, DEFAULT_MODEL, JudgeArgs, ModelArgs, Refused};

/// The judge.
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
        /// The caller's token, if the coordinator requires one.
        token: Option<Token>,
    },
}

impl TryFrom<JudgeArgs> for Judge {
    type Error = Refused;

    fn try_from(args: JudgeArgs) -> Result<Self, Refused> {
        let Some(endpoint) = args.endpoint else {
            if args.tls != ClientTlsArgs::default() {
                let problem = "needs --endpoint";
                return Err(Refused::new(tls_option(&args.tls), problem));
            }
            if args.token.token.is_some() || args.token.token_file.is_some() {
                return Err(Refused::new("--token", "needs --endpoint"));
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
            let problem = "not with --endpoint, where the coordinator uses its own template: start it with --template";
            return Err(Refused::new("--template", problem));
        }
        if args.adapter.is_some() {
            let problem = "not with --endpoint, where the workers have their own adapters: select one with --model";
            return Err(Refused::new("--adapter", problem));
        }
        if args.threads.is_some() {
            let problem = "not with --endpoint, where it is an option of the workers";
            return Err(Refused::new("--threads", problem));
        }
        if args.device.is_some() {
            let problem = "not with --endpoint, where it is an option of the workers";
            return Err(Refused::new("--device", problem));
        }
        if args.card.card_weights.is_some() {
            let problem = "not with --endpoint, where it is an option of the workers";
            return Err(Refused::new("--card-weights", problem));
        }
        let token = args.token.for_endpoint(&endpoint)?;
        Ok(Self::Endpoint { address: endpoint, tls: args.tls, token })
    }
}

/// The first TLS option that was given.
fn tls_option(tls: &ClientTlsArgs) -> &'static str {
    let options = [
        ("--tls-ca", tls.trust.tls_ca.is_some()),
        ("--tls-server-name", tls.trust.tls_server_name.is_some()),
        ("--tls-cert", tls.tls_cert.is_some()),
    ];
    options.iter().find(|(_, is_given)| *is_given).map_or("--tls-key", |(option, _)| option)
}
