//! Inference with a scalar reward model.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use jury_eval::answers::{self, Answers};
use jury_eval::asked::Asked;
use jury_proto::convert::RankRequest;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;
use jury_worker::backend::Backend;
use jury_worker::backend::meta::MetaBackend;

use super::answers::{answer_all, tell_problem, trajectories};

/// A scalar reward model, loaded.
pub struct ScalarModel {
    backend: Arc<MetaBackend>,
    pub name: String,
    /// Digest of its files, hex.
    pub digest: String,
    pub numerics: String,
}

// === impl ScalarModel ===

impl ScalarModel {
    /// Loads the model with its own score, or with a `head` that was trained on it.
    pub fn load(config: &ModelConfig, head: Option<&Path>, meter: &Meter) -> Result<Self, Failed> {
        let backend = config.load_meta(meter, head)?;
        let info = backend.info();
        let (name, digest, numerics) = (info.model, info.model_digest, info.numerics);
        Ok(Self { backend, name, digest, numerics })
    }

    /// Scores for all of `asked`, by item, stored in `folder` for a `purpose`; `None` if `ended` returns true.
    pub async fn score_all(
        &self,
        (folder, purpose): (&Path, &str),
        asked: &[Asked],
        ended: impl Fn() -> bool,
        meter: &Meter,
    ) -> Result<Option<HashMap<String, Answers<f64>>>, Failed> {
        let file = answers::path(folder, purpose, (&self.digest, &self.numerics));
        let scored =
            answer_all(&file, asked, ended, meter, async |item| self.score(item).await).await?;
        if let Some(scored) = &scored {
            tell_problem(&self.name, scored, meter);
        }
        Ok(scored)
    }

    async fn score(&self, item: &Asked) -> Result<Answers<f64>, Failed> {
        let before = self.backend.counters().prefill_tokens;
        let mut answers = Answers::to(item);
        // As many at once as it has slots for: one more would be rejected.
        let most = self.backend.info().capacity.max(1) as usize;
        for (messages, said) in &item.said {
            for said in said.chunks(most) {
                let request = RankRequest {
                    model_digest: self.digest.clone(),
                    numerics: String::new(),
                    messages: messages.clone(),
                    trajectories: trajectories(said),
                    request_id: item.item_id.clone(),
                    remaining_ms: None,
                    cache_salt: None,
                };
                let ranked = self.backend.rank(request).await;
                let ranked = ranked.map_err(|error| anyhow!("{}: {error}", self.name));
                for ranked in ranked.or_exit(Exit::Internal)? {
                    answers.put(ranked.index, ranked.outcome);
                }
            }
        }
        answers.tokens = self.backend.counters().prefill_tokens.saturating_sub(before);
        Ok(answers)
    }
}
