//! The verdicts of a file as values, those in its journal included.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use jury_grm::domain::Verdict;

use super::journal::Journal;
use super::{SinkError, failed};
use crate::batch::resume::{ResumeError, Worth};

/// Every verdict of a file that a [`Sink`](super::Sink) wrote, whatever ended its last run: those that waited in its journal
/// for their turn come behind. Two under one id are of different items ([`Verdict::is_of`]); of two on one item the one
/// that says more counts. None where there is no file. A last line without its end was cut off while it was
/// written, and does not count.
///
/// # Errors
/// [`SinkError`] names the file, and the line that is no verdict.
pub fn read_verdicts(path: &Path) -> Result<Vec<Verdict>, SinkError> {
    let name = path.display().to_string();
    let mut verdicts: Vec<Verdict> = Vec::new();
    let mut known = HashMap::new();
    let mut add = |name: &str, reader: &mut dyn BufRead| -> Result<(), SinkError> {
        let resume = |problem| SinkError::Resume { name: name.to_owned(), problem };
        for verdict in whole_lines(reader).map_err(resume)? {
            let item = (verdict.item_id.clone(), verdict.provenance.item_digest.clone());
            match known.entry(item) {
                Entry::Vacant(new) => {
                    new.insert(verdicts.len());
                    verdicts.push(verdict);
                }
                Entry::Occupied(place) => {
                    let before = &mut verdicts[*place.get()];
                    if Worth::of(before) < Worth::of(&verdict) {
                        *before = verdict;
                    }
                }
            }
        }
        Ok(())
    };
    match File::open(path) {
        Ok(file) => add(&name, &mut BufReader::new(file))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&name)(error)),
    }
    let output = path.canonicalize().map_err(failed(&name))?;
    let journal = Journal::beside(&output).map_err(failed(&name))?;
    add(&journal.name(), &mut journal.reader())?;
    Ok(verdicts)
}

fn whole_lines(reader: &mut dyn BufRead) -> Result<Vec<Verdict>, ResumeError> {
    let (mut verdicts, mut bytes) = (Vec::new(), Vec::new());
    for line in 1.. {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes)?;
        if bytes.last() != Some(&b'\n') {
            break;
        }
        if !bytes.trim_ascii().is_empty() {
            let read = serde_json::from_slice(&bytes);
            verdicts.push(read.map_err(|problem| ResumeError::NotAVerdict { line, problem })?);
        }
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::json_line;

    use super::*;
    use crate::batch::fixture::verdict;

    #[test]
    fn what_a_killed_run_left_in_the_journal_counts_and_a_cut_off_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        assert!(read_verdicts(&path).unwrap().is_empty());
        let line = |id: &str| json_line(&verdict(id)).unwrap();
        std::fs::write(&path, line("a") + "\n" + &line("b")).unwrap();
        let cut_off = &line("d")[..20];
        let journal = line("c") + &line("a") + cut_off;
        std::fs::write(folder.path().join("verdicts.jsonl.journal"), journal).unwrap();
        let ids: Vec<String> =
            read_verdicts(&path).unwrap().into_iter().map(|verdict| verdict.item_id).collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }

    #[test]
    fn another_kind_of_file_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        std::fs::write(&path, "\nhello\n").unwrap();
        let error = read_verdicts(&path).unwrap_err().to_string();
        assert!(error.contains("v.jsonl") && error.contains("line 2 is no verdict"), "{error}");
    }
}
