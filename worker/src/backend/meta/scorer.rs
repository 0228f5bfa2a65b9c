//! Turns a state into a score: the model's own head, or one from a file.

use std::path::Path;

use jury_engine::Engine;
use jury_engine::head::{Head, HeadError, ScalarHead, StatePlace};

use super::MetaError;
use crate::backend::engine::EngineBackendConfig;
use crate::models::{combined_digest, digest_of};

/// A head.
#[derive(Debug)]
pub(super) enum Scorer {
    Own(ScalarHead),
    FromFile(Box<Head>),
}

// === impl Scorer ===

impl Scorer {
    /// Returns the scorer, and the digest of model and scorer together.
    pub(super) fn of(
        engine: &Engine,
        config: &EngineBackendConfig,
        head: Option<&Path>,
    ) -> Result<(Self, String), MetaError> {
        let path = config.path.clone();
        match (engine.scalar_head(), head) {
            (Some(own), None) => Ok((Self::Own(own.clone()), config.digest.clone())),
            (Some(_), Some(_)) => Err(MetaError::TwoScores { path }),
            (None, None) => Err(MetaError::NoScore { path }),
            (None, Some(file)) => {
                let load = || {
                    let (head, bytes) = Head::load(file)?;
                    let width = Some(engine.model().embedding_length);
                    head.reads(&config.digest, StatePlace::EndOfTurn, width)?;
                    Ok((head, bytes))
                };
                let (head, bytes) =
                    load().map_err(|source| MetaError::Head { path: file.to_owned(), source })?;
                let digest = combined_digest(&[config.digest.clone(), digest_of(&bytes)]);
                Ok((Self::FromFile(Box::new(head)), digest))
            }
        }
    }

    pub(super) fn score(&self, state: &[f32]) -> Result<f64, HeadError> {
        match self {
            Self::Own(head) => head.score(state),
            Self::FromFile(head) => head.score(state),
        }
    }
}
