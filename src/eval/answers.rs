//! What a model that reads said of items. What it says of one is a line of its file at once, so that nothing is computed twice,
//! whatever ends a run.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use jury_grm::domain::json_line;
use jury_grm::prompt::Message;
use jury_proto::convert::Trajectory;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Digits of a digest in a file's name.
const NAME_DIGITS: usize = 12;

/// What is asked about one item: turns of an assistant, each after a prompt.
pub struct Asked {
    pub item_id: String,
    /// Prompts, and what was said after each. The indices of all are `0..n`, each once.
    pub said: Vec<(Vec<Message>, Vec<Trajectory>)>,
}

/// What a model said of one item: a line of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered<T> {
    pub item_id: String,
    /// Digest of what was asked, hex.
    pub asked: String,
    /// By index; null where it could not say one.
    pub answers: Vec<Option<T>>,
    /// Why the first that is null is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Tokens computed.
    pub tokens: u64,
    pub ms: u64,
}

/// What it said, as it says it.
pub struct Answers<T> {
    by_index: Vec<Option<T>>,
    problem: Option<String>,
    /// Tokens computed.
    pub tokens: u64,
}

/// The file in `folder` of what the model of this `digest` says for a `purpose`.
pub fn file(folder: &Path, purpose: &str, digest: &str) -> PathBuf {
    let digits = digest.get(..NAME_DIGITS).unwrap_or(digest);
    folder.join(format!("{purpose}-{digits}.jsonl"))
}

/// Answers to all that is asked, by item; `None` once `ended` says so. What the file at `path` has is not computed again.
pub async fn answer_all<T: Serialize + DeserializeOwned>(
    path: &Path,
    asked: &[Asked],
    ended: impl Fn() -> bool,
    meter: &Meter,
    mut answer: impl AsyncFnMut(&Asked) -> Result<Answers<T>, Failed>,
) -> Result<Option<HashMap<String, Answered<T>>>, Failed> {
    let name = || path.display().to_string();
    let (mut file, mut has) = open(path).with_context(name).or_exit(Exit::CannotWrite)?;
    meter.items(Some(asked.len() as u64));
    for item in asked {
        if ended() {
            return Ok(None);
        }
        let digest = item.digest();
        let is_there =
            |answered: &Answered<T>| answered.item_id == item.item_id && answered.asked == digest;
        if !has.get(&item.item_id).is_some_and(is_there) {
            let started = Instant::now();
            let Answers { by_index, problem, tokens } = answer(item).await?;
            let answered = Answered {
                item_id: item.item_id.clone(),
                asked: digest,
                answers: by_index,
                problem,
                tokens,
                ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            let line = json_line(&answered).or_exit(Exit::Internal)?;
            let written = file.write_all(line.as_bytes());
            written.with_context(name).or_exit(Exit::CannotWrite)?;
            has.insert(answered.item_id.clone(), answered);
        }
        meter.item_done();
    }
    Ok(Some(has))
}

/// Tells how many items have something without an answer, and why the first.
pub fn tell_problem<T>(name: &str, answered: &HashMap<String, Answered<T>>, meter: &Meter) {
    let mut with: Vec<&Answered<T>> =
        answered.values().filter(|answered| answered.problem.is_some()).collect();
    with.sort_by(|a, b| a.item_id.cmp(&b.item_id));
    if let Some(first) = with.first() {
        let (n, id) = (with.len(), &first.item_id);
        let why = first.problem.as_deref().unwrap_or_default();
        meter.print(&format!("jury: {name} could not read all of {n} items, as {id:?}: {why}"));
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

// === impl Answers ===

impl<T> Answers<T> {
    /// None yet, to what is asked.
    pub fn to(asked: &Asked) -> Self {
        let n = asked.said.iter().map(|(_, said)| said.len()).sum();
        Self { by_index: (0..n).map(|_| None).collect(), problem: None, tokens: 0 }
    }

    pub fn put(&mut self, index: u32, outcome: Result<T, impl ToString>) {
        match (outcome, self.by_index.get_mut(index as usize)) {
            (Ok(answer), Some(place)) => *place = Some(answer),
            (Err(failure), _) => {
                self.problem.get_or_insert_with(|| failure.to_string());
            }
            (Ok(_), None) => {}
        }
    }
}

/// The file for more lines, and what it has. A last line without its end was cut off while it was written, and goes.
fn open<T: DeserializeOwned>(path: &Path) -> io::Result<(File, HashMap<String, Answered<T>>)> {
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
        let answered: Answered<T> = serde_json::from_slice(&line)?;
        has.insert(answered.item_id.clone(), answered);
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
        let answered = |id: &str| Answered {
            item_id: id.to_owned(),
            asked: "d".to_owned(),
            answers: vec![Some(-0.25), None],
            problem: Some("too long".to_owned()),
            tokens: 7,
            ms: 1,
        };
        let (mut file, has) = open::<f64>(&path).unwrap();
        assert!(has.is_empty());
        file.write_all(json_line(&answered("a")).unwrap().as_bytes()).unwrap();
        file.write_all(b"{\"item_id\": \"b").unwrap();
        let (mut file, has) = open::<f64>(&path).unwrap();
        assert_eq!(has["a"], answered("a"));
        file.write_all(json_line(&answered("b")).unwrap().as_bytes()).unwrap();
        assert_eq!(open::<f64>(&path).unwrap().1.len(), 2);
        std::fs::write(&path, "hello\n").unwrap();
        assert!(open::<f64>(&path).is_err());
    }
}
