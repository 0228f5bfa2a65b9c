//! `--meta head:FILE`: a head's scores of samples that were drawn with their hidden states, so that a head which is
//! trained later ranks them without drawing anew.

use std::path::Path;

use anyhow::{Context, anyhow};
use jury_engine::head::Head;
use jury_grm::domain::Verdict;
use jury_terminal::exit::{Exit, Failed, OrExit};

use crate::args::Refused;

/// A head and its digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranker {
    pub head: Head,
    /// Of its file, hex.
    pub digest: String,
}

// === impl Ranker ===

impl Ranker {
    pub fn load(path: &Path) -> Result<Self, Refused> {
        let (head, bytes) = Head::load(path).map_err(|error| {
            let source = std::error::Error::source(&error);
            let why = source.map(|source| format!(": {source}")).unwrap_or_default();
            Refused::new("--meta", format!("{error}{why}"))
        })?;
        Ok(Self { head, digest: jury_worker::models::digest_of(&bytes) })
    }
}

/// Gives every sample with scores its meta score.
pub fn by(ranker: &Ranker, verdicts: &mut [Verdict]) -> Result<(), Failed> {
    for verdict in verdicts {
        if let Some(model) = &verdict.provenance.model_digest {
            let fits = ranker.head.reads(model, None).context("--meta");
            fits.or_exit(Exit::Usage)?;
        }
        for sample in verdict.samples.iter_mut().flatten() {
            if sample.scores().is_none() {
                continue;
            }
            let Some(state) = &sample.hidden_state else {
                let problem = anyhow!(
                    "--meta: the samples in --out were drawn without hidden states; name another folder, or start it \
                     with --hidden-states"
                );
                return Err(Failed::new(Exit::Usage, problem));
            };
            sample.meta_score =
                Some(ranker.head.score(state).context("--meta").or_exit(Exit::Usage)?);
        }
    }
    Ok(())
}
