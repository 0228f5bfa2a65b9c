//! A scalar reward model at work. What it says of an item is a line of its file at once, so that nothing is computed twice,
//! whatever ends a run.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use jury_grm::domain::json_line;
use jury_grm::prompt::Message;
use jury_proto::convert::{RankRequest, Trajectory};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;
use jury_worker::backend::Backend;
use jury_worker::backend::meta::MetaBackend;
use serde::{Deserialize, Serialize};

/// Digits of a digest in a file's name.
const NAME_DIGITS: usize = 12;

/// A scalar reward model, loaded.
pub struct ScalarModel {
    backend: Arc<MetaBackend>,
    pub name: String,
    /// Of its files, hex.
    pub digest: String,
}

/// What is asked of it for one item: turns of an assistant, each after a prompt.
pub struct Asked {
    pub item_id: String,
    /// Prompts, and what was said after each. The indices of all are `0..n`, each once.
    pub said: Vec<(Vec<Message>, Vec<Trajectory>)>,
}

/// What it said of one item: a line of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub item_id: String,
    /// Digest of what was asked, hex.
    pub asked: String,
    /// By index; null where it could not say one.
    pub scores: Vec<Option<f64>>,
    /// Why the first that is null is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Tokens computed.
    pub tokens: u64,
    pub ms: u64,
}

// === impl ScalarModel ===

impl ScalarModel {
    pub fn load(config: &ModelConfig, meter: &Meter) -> Result<Self, Failed> {
        let backend = config.load_meta(meter, None)?;
        let info = backend.info();
        Ok(Self { backend, name: info.model, digest: info.model_digest })
    }

    /// The file in `folder` of what it says for a `purpose`.
    pub fn file(&self, folder: &Path, purpose: &str) -> PathBuf {
        let digits = self.digest.get(..NAME_DIGITS).unwrap_or(&self.digest);
        folder.join(format!("{purpose}-{digits}.jsonl"))
    }

    /// Scores for all that is asked, by item; `None` once `ended` says so. What the file at `path` has is not computed again.
    pub async fn score_all(
        &self,
        path: &Path,
        asked: &[Asked],
        ended: impl Fn() -> bool,
        meter: &Meter,
    ) -> Result<Option<HashMap<String, Scored>>, Failed> {
        let name = || path.display().to_string();
        let (mut file, mut has) = open(path).with_context(name).or_exit(Exit::CannotWrite)?;
        meter.items(Some(asked.len() as u64));
        for item in asked {
            if ended() {
                return Ok(None);
            }
            let digest = item.digest();
            if has.get(&item.item_id).is_none_or(|scored| scored.asked != digest) {
                let scored = self.score(item, digest).await?;
                let line = json_line(&scored).or_exit(Exit::Internal)?;
                let written = file.write_all(line.as_bytes());
                written.with_context(name).or_exit(Exit::CannotWrite)?;
                has.insert(scored.item_id.clone(), scored);
            }
            meter.item_done();
        }
        Ok(Some(has))
    }

    async fn score(&self, item: &Asked, digest: String) -> Result<Scored, Failed> {
        let started = Instant::now();
        let before = self.backend.counters().prefill_tokens;
        let n = item.said.iter().map(|(_, said)| said.len()).sum();
        let (mut scores, mut problem) = (vec![None; n], None);
        // As many at once as it has seats for: one beyond them would be refused.
        let most = self.backend.info().capacity.max(1) as usize;
        for (messages, said) in &item.said {
            for said in said.chunks(most) {
                let request = RankRequest {
                    model_digest: self.digest.clone(),
                    numerics: String::new(),
                    messages: messages.clone(),
                    trajectories: said.to_vec(),
                    request_id: item.item_id.clone(),
                    remaining_ms: None,
                    cache_salt: None,
                };
                let ranked = self.backend.rank(request).await;
                let ranked = ranked.map_err(|error| anyhow!("{}: {error}", self.name));
                for ranked in ranked.or_exit(Exit::Internal)? {
                    match (ranked.outcome, scores.get_mut(ranked.index as usize)) {
                        (Ok(score), Some(place)) => *place = Some(score),
                        (Err(failure), _) => {
                            problem.get_or_insert_with(|| failure.to_string());
                        }
                        (Ok(_), None) => {}
                    }
                }
            }
        }
        Ok(Scored {
            item_id: item.item_id.clone(),
            asked: digest,
            scores,
            problem,
            tokens: self.backend.counters().prefill_tokens.saturating_sub(before),
            ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

// === impl Asked ===

impl Asked {
    /// Of every text, each with its length: other samples of an item are another question.
    fn digest(&self) -> String {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        for (messages, said) in &self.said {
            for span in messages.iter().flat_map(|message| &message.spans) {
                put(&span.text);
            }
            said.iter().for_each(|said| put(&said.text));
        }
        jury_eval::digest(&bytes)
    }
}

/// The file for more lines, and what it has. A last line without its end was cut off while it was written, and goes.
fn open(path: &Path) -> io::Result<(File, HashMap<String, Scored>)> {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).read(true).write(true).truncate(false).open(path)?;
    let (mut has, mut whole) = (HashMap::new(), 0);
    let mut reader = BufReader::new(&file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            break;
        }
        let scored: Scored = serde_json::from_slice(&line)?;
        has.insert(scored.item_id.clone(), scored);
        whole += n;
    }
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_goes_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scalar.jsonl");
        let scored = |id: &str| Scored {
            item_id: id.to_owned(),
            asked: "d".to_owned(),
            scores: vec![Some(-0.25), None],
            problem: Some("too long".to_owned()),
            tokens: 7,
            ms: 1,
        };
        let (mut file, has) = open(&path).unwrap();
        assert!(has.is_empty());
        file.write_all(json_line(&scored("a")).unwrap().as_bytes()).unwrap();
        file.write_all(b"{\"item_id\": \"b").unwrap();
        let (mut file, has) = open(&path).unwrap();
        assert_eq!(has["a"], scored("a"));
        file.write_all(json_line(&scored("b")).unwrap().as_bytes()).unwrap();
        assert_eq!(open(&path).unwrap().1.len(), 2);
        std::fs::write(&path, "hello\n").unwrap();
        assert!(open(&path).is_err());
    }
}
