//! Which items a file of verdicts already has.

use std::collections::HashMap;
use std::io::{self, BufRead};

use serde::Deserialize;

/// The items that need no judging again.
#[derive(Debug, Default, PartialEq)]
pub struct Finished {
    /// Verdicts by item id; ids may repeat in a batch.
    ids: HashMap<String, usize>,
    /// Bytes of the file up to the end of its last whole verdict.
    pub whole_bytes: u64,
}

#[derive(Deserialize)]
struct ItemId {
    item_id: String,
}

/// Why a file cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error("line {line} is no verdict: {source}; name another file, or leave --resume out")]
    NotAVerdict { line: usize, source: serde_json::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

// === impl Finished ===

impl Finished {
    /// Reads a file of verdicts. A last line without its end was cut off while it was written: it
    /// does not count, and is to be overwritten.
    pub fn read(mut verdicts: impl BufRead) -> Result<Self, ResumeError> {
        let mut finished = Self::default();
        for line in 1.. {
            let mut bytes = Vec::new();
            let n_read = verdicts.read_until(b'\n', &mut bytes)?;
            if bytes.last() != Some(&b'\n') {
                break;
            }
            if !bytes.trim_ascii().is_empty() {
                let verdict: ItemId = serde_json::from_slice(&bytes)
                    .map_err(|source| ResumeError::NotAVerdict { line, source })?;
                *finished.ids.entry(verdict.item_id).or_default() += 1;
            }
            finished.whole_bytes += n_read as u64;
        }
        Ok(finished)
    }

    /// True when the item has its verdict. Counts: the second item of an id needs a second one.
    pub fn take(&mut self, id: &str) -> bool {
        match self.ids.get_mut(id) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_spares_one_item_of_its_id() {
        let mut finished = Finished::read(&b"{\"item_id\":\"a\",\"x\":1}\n"[..]).unwrap();
        assert!(finished.take("a"));
        assert!(!finished.take("a"));
        assert!(!finished.take("b"));
    }

    #[test]
    fn a_verdict_cut_off_while_written_does_not_count() {
        let file = b"{\"item_id\":\"a\"}\n{\"item_id\":\"b\"";
        let mut finished = Finished::read(&file[..]).unwrap();
        assert_eq!(finished.whole_bytes, 16);
        assert!(finished.take("a") && !finished.take("b"));
    }

    #[test]
    fn another_kind_of_file_is_refused_with_its_line() {
        let error = Finished::read(&b"{\"item_id\":\"a\"}\nhello\n"[..]).unwrap_err();
        assert!(error.to_string().starts_with("line 2 is no verdict"), "{error}");
    }
}
