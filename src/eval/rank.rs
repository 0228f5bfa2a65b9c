//! `--meta head:FILE` and `--meta model:MODEL`: existing samples are ranked, so that a Meta RM that is trained later
//! ranks them without drawing again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jury_engine::head::{Head, StatePlace};
use jury_eval::asked::{Asked, asked_samples};
use jury_grm::domain::{Item, Verdict};
use jury_grm::prompt::Template;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;

use super::files::Folder;
use super::scoring::ScalarModel;
use crate::args::Refused;

/// The Meta RM.
#[derive(Debug, Clone, PartialEq)]
pub enum Ranker {
    /// A head on the judging model's stored hidden states.
    Head {
        head: Box<Head>,
        /// Digest of its file, hex.
        digest: String,
    },
    /// A separate model, which reads the prompt and the sample: a scalar reward model, or any with the file of a head
    /// that was trained on it.
    Model(ModelConfig, Option<PathBuf>),
}

/// The evaluation whose samples a model ranks.
pub struct Run<'a> {
    pub items: &'a [Item],
    pub folder: &'a Folder,
    /// The template of its prompts.
    pub template: Template,
}

/// The Meta RM that ranked, and its cost.
pub struct Ranked {
    /// Digest of the Meta RM, hex.
    pub digest: String,
    /// Tokens and seconds per item; 0 for a head.
    pub cost: (f64, f64),
}

// === impl Ranker ===

impl Ranker {
    pub fn load_head(path: &Path) -> Result<Self, Refused> {
        let (head, bytes) = Head::load(path).map_err(|error| Refused::file("--meta", error))?;
        let digest = jury_worker::models::digest_of(&bytes);
        Ok(Self::Head { head: Box::new(head), digest })
    }
}

// === impl Run ===

impl Run<'_> {
    /// The input of a separate model: the samples with scores of every item, under their prompts.
    pub fn questions(&self, verdicts: &[Verdict]) -> Result<Vec<Asked>, Failed> {
        let by_id: HashMap<&str, &Item> = self.items.iter().map(|item| (&*item.id, item)).collect();
        let known =
            verdicts.iter().filter_map(|verdict| Some((*by_id.get(&*verdict.item_id)?, verdict)));
        known
            .filter(|(item, verdict)| verdict.is_of(item))
            .map(|(item, verdict)| Asked::of_samples(item, verdict, &self.template))
            .collect::<Result<_, _>>()
            .or_exit(Exit::Usage)
    }
}

/// Gives every sample with scores its meta score.
pub fn by_head(head: &Head, digest: &str, verdicts: &mut [Verdict]) -> Result<Ranked, Failed> {
    for verdict in verdicts {
        if let Some(model) = &verdict.provenance.model_digest {
            let fits = head.reads(model, StatePlace::ScoreLine, None).context("--meta");
            fits.or_exit(Exit::Usage)?;
        }
        for sample in verdict.samples.iter_mut().flatten() {
            if sample.scores().is_none() {
                continue;
            }
            let Some(state) = &sample.hidden_state else {
                let problem = anyhow!(
                    "--meta: the samples in --out were drawn without hidden states; use another folder, drawn with --hidden-states"
                );
                return Err(Failed::new(Exit::Usage, problem));
            };
            sample.meta_score = Some(head.score(state).context("--meta").or_exit(Exit::Usage)?);
        }
        verdict.provenance.meta_digest = Some(digest.to_owned());
        verdict.provenance.meta_numerics = None;
    }
    Ok(Ranked { digest: digest.to_owned(), cost: (0.0, 0.0) })
}

/// The same by a separate model. Its input is that of the method: the prompt in the sample's order, and the sample as
/// the assistant's turn. `None` after Ctrl-C.
pub async fn by_model(
    (config, head): (&ModelConfig, Option<&Path>),
    run: &Run<'_>,
    verdicts: &mut [Verdict],
    ended: impl Fn() -> bool,
    meter: &Meter,
) -> Result<Option<Ranked>, Failed> {
    let asked = run.questions(verdicts)?;
    let model = ScalarModel::load(config, head, meter)?;
    let place = (run.folder.path(), "meta");
    let Some(scored) = model.score_all(place, &asked, ended, meter).await? else {
        return Ok(None);
    };
    let (mut tokens, mut ms) = (0, 0);
    for verdict in &mut *verdicts {
        let Some(scored) = scored.get(&verdict.item_id) else { continue };
        (tokens, ms) = (tokens + scored.tokens, ms + scored.ms);
        for (sample, score) in asked_samples(verdict).zip(&scored.answers) {
            sample.meta_score = *score;
        }
        verdict.provenance.meta_digest = Some(model.digest.clone());
        verdict.provenance.meta_numerics = Some(model.numerics.clone());
    }
    let n = verdicts.len().max(1) as f64;
    let cost = (tokens as f64 / n, ms as f64 / n / 1000.0);
    Ok(Some(Ranked { digest: model.digest, cost }))
}
