//! Answers of models about items. Each answer is written as a line of its file at once, so that nothing is computed
//! twice, however a run ends.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jury_grm::domain::{Failure, FailureKind, json_line};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::asked::Asked;

/// Digits of a digest in a file name.
const NAME_DIGITS: usize = 12;

/// A model's answers about one item: one line of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answers<T> {
    /// The item.
    pub item_id: String,
    /// Digest of the question, hex.
    pub asked: String,
    /// By index; null if there is none.
    pub answers: Vec<Option<T>>,
    /// The reason for the first null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether every null is final, so that asking again would not help. Older versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_good: Option<bool>,
    /// Tokens computed.
    pub tokens: u64,
    /// Milliseconds that it took.
    pub ms: u64,
}

/// Why a file of answers cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// It cannot be read or created.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process has it open.
    #[error("another process is writing it; wait for its end")]
    InUse,
    /// It contains something else.
    #[error("line {line} is not an answer ({problem}); remove the line to compute it again")]
    NotAnAnswer {
        /// 1-based.
        line: usize,
        /// What the parser met.
        problem: serde_json::Error,
    },
}

/// The answers so far, by item, and their file.
#[derive(Debug)]
pub struct AnswerFile<T> {
    file: File,
    by_item: HashMap<String, Answers<T>>,
}

/// The file in `folder` for the answers of the model with this `digest` for a `purpose`, computed in this `numerics`
/// class: the answers may depend on it, for example with 8-bit weights on a GPU.
pub fn path(folder: &Path, purpose: &str, (digest, numerics): (&str, &str)) -> PathBuf {
    let digits = digest.get(..NAME_DIGITS).unwrap_or(digest);
    folder.join(format!("{purpose}-{digits}-{numerics}.jsonl"))
}

/// The number of items with a missing answer, and the first of them by id.
pub fn incomplete<T>(by_item: &HashMap<String, Answers<T>>) -> Option<(usize, &Answers<T>)> {
    let with = || by_item.values().filter(|answers| answers.problem.is_some());
    let first = with().min_by(|a, b| a.item_id.cmp(&b.item_id))?;
    Some((with().count(), first))
}

// === impl Answers ===

impl<T> Answers<T> {
    /// An empty record of answers to this question.
    pub fn to(asked: &Asked) -> Self {
        Self {
            item_id: asked.item_id.clone(),
            asked: asked.digest(),
            answers: (0..asked.n_said()).map(|_| None).collect(),
            problem: None,
            for_good: None,
            tokens: 0,
            ms: 0,
        }
    }

    /// Records the answer to one turn, or why there is none.
    pub fn put(&mut self, index: u32, outcome: Result<T, Failure>) {
        match (outcome, self.answers.get_mut(index as usize)) {
            (Ok(answer), Some(place)) => *place = Some(answer),
            (Err(failure), _) => {
                let for_good = failure.kind == FailureKind::TooLong;
                self.for_good = Some(for_good && self.for_good.unwrap_or(true));
                self.problem.get_or_insert_with(|| failure.to_string());
            }
            (Ok(_), None) => {}
        }
    }
}

// === impl AnswerFile ===

impl<T: Serialize + DeserializeOwned> AnswerFile<T> {
    /// Opens the file for appending. A last line without a line end was cut off while it was being written, and is
    /// removed.
    ///
    /// # Errors
    /// [`AnswersError`].
    pub fn open(path: &Path) -> Result<Self, AnswersError> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).read(true).write(true).truncate(false).open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(AnswersError::InUse),
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let (mut by_item, mut whole) = (HashMap::new(), 0);
        let mut reader = BufReader::new(&file);
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let n = reader.read_until(b'\n', &mut bytes)? as u64;
            if bytes.last() != Some(&b'\n') {
                break;
            }
            let answers: Answers<T> = serde_json::from_slice(&bytes)
                .map_err(|problem| AnswersError::NotAnAnswer { line, problem })?;
            by_item.insert(answers.item_id.clone(), answers);
            whole += n;
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, by_item })
    }

    /// Whether it has final answers to exactly this question. What the model failed to read is asked again.
    pub fn has(&self, asked: &Asked) -> bool {
        self.by_item.get(&asked.item_id).is_some_and(|answers| {
            let is_final = answers.problem.is_none() || answers.for_good == Some(true);
            is_final && answers.asked == asked.digest()
        })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn put(&mut self, answers: Answers<T>) -> io::Result<()> {
        self.file.write_all(json_line(&answers)?.as_bytes())?;
        self.by_item.insert(answers.item_id.clone(), answers);
        Ok(())
    }

    /// All answers, by item.
    pub fn into_answers(self) -> HashMap<String, Answers<T>> {
        self.by_item
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{Item, Query};

    use super::*;

    fn asked(id: &str, response: &str) -> Asked {
        let responses = vec![response.to_owned(), "no".to_owned()];
        let item = Item::bare(Query::Text("q".to_owned()), responses);
        Asked::of_responses(&Item { id: id.to_owned(), ..item })
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure { kind, detail: "as it was".to_owned() }
    }

    fn answers(asked: &Asked) -> Answers<f64> {
        let mut answers = Answers::to(asked);
        answers.put(0, Ok(-0.25));
        answers.put(1, Err(failure(FailureKind::TooLong)));
        Answers { tokens: 7, ms: 1, ..answers }
    }

    #[test]
    fn a_line_that_was_cut_off_goes_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "scalar", ("0123456789abcdef", "cpu-1"));
        assert!(path.ends_with("scalar-0123456789ab-cpu-1.jsonl"));
        let [a, b] = ["a", "b"].map(|id| asked(id, "yes"));
        let mut file = AnswerFile::<f64>::open(&path).unwrap();
        assert!(!file.has(&a));
        file.put(answers(&a)).unwrap();
        file.file.write_all(b"{\"item_id\": \"b").unwrap();
        assert!(matches!(AnswerFile::<f64>::open(&path), Err(AnswersError::InUse)));
        drop(file);
        let mut file = AnswerFile::<f64>::open(&path).unwrap();
        assert!(file.has(&a) && !file.has(&b));
        file.put(answers(&b)).unwrap();
        drop(file);
        let by_item = AnswerFile::<f64>::open(&path).unwrap().into_answers();
        assert_eq!((by_item.len(), &by_item["a"]), (2, &answers(&a)));
        assert_eq!(by_item["a"].answers, [Some(-0.25), None]);
        let (n, first) = incomplete(&by_item).unwrap();
        let told = failure(FailureKind::TooLong).to_string();
        assert_eq!((n, &*first.item_id, first.problem.as_ref()), (2, "a", Some(&told)));
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, lines + "hello\n").unwrap();
        let error = AnswerFile::<f64>::open(&path).unwrap_err().to_string();
        assert!(error.starts_with("line 3 is not an answer"), "{error}");
    }

    #[test]
    fn what_went_wrong_with_the_model_is_asked_again_and_what_is_too_long_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let asked = asked("a", "yes");
        for (kinds, is_final) in [
            (&[FailureKind::TooLong][..], true),
            (&[FailureKind::Worker], false),
            (&[FailureKind::TooLong, FailureKind::Worker], false),
            (&[FailureKind::Worker, FailureKind::TooLong], false),
            (&[], true),
        ] {
            let mut said = Answers::to(&asked);
            for (index, &kind) in (0..).zip(kinds) {
                said.put(index, Err(failure(kind)));
            }
            AnswerFile::<f64>::open(&path).unwrap().put(said).unwrap();
            let file = AnswerFile::<f64>::open(&path).unwrap();
            assert_eq!(file.has(&asked), is_final, "{kinds:?}");
        }
    }

    #[test]
    fn other_texts_of_an_item_are_another_question() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = AnswerFile::<f64>::open(&folder.path().join("a.jsonl")).unwrap();
        file.put(answers(&asked("a", "yes"))).unwrap();
        assert!(file.has(&asked("a", "yes")) && !file.has(&asked("a", "yes, it is")));
    }
}
