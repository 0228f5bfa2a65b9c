//! Where the verdicts of a batch go: whole lines, each flushed, so that nothing finished is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use jury_grm::domain::{ScoreRequest, Verdict};

use super::Event;
use super::order::InOrder;
use super::resume::{Asked, Finished, JudgedBy, ResumeError};

/// Takes events, and writes their verdicts, one a line.
pub struct Sink {
    writer: Box<dyn Write + Send>,
    /// How errors call it.
    name: String,
    /// `None` writes verdicts as they are ready.
    order: Option<InOrder<Verdict>>,
    /// Nobody else's verdicts may stand beside theirs.
    judged_by: Option<JudgedBy>,
}

/// What a file of verdicts may hold when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// Nothing.
    Nothing,
    /// Verdicts that were asked for in the same way.
    Same,
    /// Any verdicts.
    Any,
}

/// Why verdicts cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file cannot be opened, read or written.
    #[error("{name}")]
    Io {
        /// What was to be written.
        name: String,
        /// What happened.
        source: io::Error,
    },
    /// It holds something, and was to be new: verdicts are dear, so they are never overwritten.
    #[error("{name} has content already")]
    NotEmpty {
        /// The file.
        name: String,
    },
    /// It cannot be gone on with.
    #[error("{name}: {problem}")]
    Resume {
        /// The file.
        name: String,
        /// Why.
        problem: ResumeError,
    },
    /// The verdict is not by the judge of those in the file.
    #[error("{difference}")]
    OtherJudge {
        /// What was different before.
        difference: String,
    },
}

// === impl Sink ===

impl Sink {
    /// Writes to `writer`, which errors call `name`; `ordered` holds each verdict back until its turn comes.
    pub fn stream(name: &str, writer: Box<dyn Write + Send>, ordered: bool) -> Self {
        let order = ordered.then(InOrder::new);
        Self { writer, name: name.to_owned(), order, judged_by: None }
    }

    /// Writes to a file, and tells which items it already has. A file with content is gone on
    /// with or refused, never overwritten. Gone on with, it loses only the
    /// lines without reward whose items are judged again.
    ///
    /// # Errors
    /// [`SinkError`] when the file cannot be opened, or holds what `onto` excludes. `request` is that of every item.
    pub fn file(
        path: &Path,
        onto: Onto,
        request: &ScoreRequest,
        ordered: bool,
    ) -> Result<(Self, Finished), SinkError> {
        let name = path.display().to_string();
        let failed = |source| SinkError::Io { name: name.clone(), source };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let finished = match onto {
            Onto::Nothing if file.metadata().map_err(failed)?.len() > 0 => {
                return Err(SinkError::NotEmpty { name });
            }
            Onto::Nothing => Finished::default(),
            Onto::Same | Onto::Any => {
                let asked = (onto == Onto::Same).then(|| Asked::of(request));
                Finished::read(BufReader::new(&file), asked.as_ref())
                    .map_err(|problem| SinkError::Resume { name: name.clone(), problem })?
            }
        };
        if !finished.to_retry.is_empty() {
            file = without(path, &file, &finished).map_err(failed)?;
        } else if onto != Onto::Nothing {
            file.set_len(finished.whole_bytes)
                .and_then(|()| file.seek(SeekFrom::End(0)))
                .map_err(failed)?;
        }
        let judged_by = finished.judged_by.clone().filter(|_| onto == Onto::Same);
        Ok((Self { judged_by, ..Self::stream(&name, Box::new(file), ordered) }, finished))
    }

    /// Takes every event of a batch; those without a place mean nothing here.
    ///
    /// # Errors
    /// [`SinkError`] when it cannot be written, or is not by the judge of the verdicts before it. What was taken
    /// before is written.
    pub fn take(&mut self, event: &Event) -> Result<(), SinkError> {
        let (place, verdict) = match event {
            Event::Judged(place, verdict) => (place, Some(&**verdict)),
            Event::Known(place) | Event::Failed(place, _) => (place, None),
            _ => return Ok(()),
        };
        let difference = self.judged_by.as_ref().zip(verdict);
        if let Some(difference) =
            difference.and_then(|(before, verdict)| before.differ(&verdict.provenance))
        {
            return Err(SinkError::OtherJudge { difference });
        }
        let ready = match &mut self.order {
            Some(order) => order.put(place.number, verdict.cloned()),
            None => verdict.cloned().into_iter().collect(),
        };
        ready.iter().try_for_each(|verdict| self.write(verdict))
    }

    /// Writes what is still held back for an earlier one that will not come.
    ///
    /// # Errors
    /// [`SinkError::Io`].
    pub fn finish(mut self) -> Result<(), SinkError> {
        let mut rest = self.order.take().into_iter().flat_map(InOrder::into_rest);
        rest.try_for_each(|verdict| self.write(&verdict))
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let failed = |source| SinkError::Io { name: self.name.clone(), source };
        let mut line = serde_json::to_vec(verdict).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.writer.write_all(&line).and_then(|()| self.writer.flush()).map_err(failed)
    }
}

/// Puts a file without the lines that are to be judged again in the place of `file`: written
/// beside it first, so that a crash leaves the one or the other whole.
fn without(path: &Path, file: &File, finished: &Finished) -> io::Result<File> {
    let path = path.canonicalize()?;
    let mut beside = path.clone().into_os_string();
    beside.push(".resume");
    let mut kept = OpenOptions::new().create(true).write(true).truncate(true).open(&beside)?;
    let mut file = file;
    for range in kept_ranges(finished) {
        file.seek(SeekFrom::Start(range.start))?;
        io::copy(&mut file.take(range.end - range.start), &mut kept)?;
    }
    kept.set_permissions(file.metadata()?.permissions())?;
    kept.sync_all()?;
    std::fs::rename(&beside, &path)?;
    Ok(kept)
}

/// What lies between the lines that go.
fn kept_ranges(finished: &Finished) -> Vec<Range<u64>> {
    let starts = std::iter::once(0).chain(finished.to_retry.iter().map(|line| line.end));
    let ends = finished.to_retry.iter().map(|line| line.start);
    starts.zip(ends.chain([finished.whole_bytes])).map(|(start, end)| start..end).collect()
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{Item, Query, Reason, ReasonCode, Status};

    use super::super::Place;
    use super::super::fixture::verdict;
    use super::*;

    /// What the verdict of the fixture was asked with.
    fn request() -> ScoreRequest {
        let settings = verdict("a").provenance.settings;
        let item = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]);
        ScoreRequest { settings, seed: 7, ..ScoreRequest::new(item) }
    }

    fn open(path: &Path, onto: Onto) -> Result<(Sink, Finished), SinkError> {
        Sink::file(path, onto, &request(), true)
    }

    fn judged(number: u64, id: &str) -> Event {
        Event::Judged(Place { line: number + 1, number }, Box::new(verdict(id)))
    }

    fn line(verdict: &Verdict) -> String {
        format!("{}\n", serde_json::to_string(verdict).unwrap())
    }

    #[test]
    fn a_batch_goes_on_after_the_last_whole_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let (mut sink, _) = open(&path, Onto::Nothing).unwrap();
        sink.take(&judged(0, "a")).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.clone() + "{\"item_id\":").unwrap();

        let (mut sink, finished) = open(&path, Onto::Same).unwrap();
        assert!(finished.has("a"));
        sink.take(&Event::Known(Place { line: 1, number: 0 })).unwrap();
        sink.take(&judged(1, "b")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole + &line(&verdict("b")));
    }

    #[test]
    fn only_the_lines_to_be_judged_again_go_and_the_next_verdict_comes_after_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let reason = Reason { code: ReasonCode::Budget, detail: "too short".to_owned() };
        let unscored =
            Verdict { status: Status::Unscored, reasons: vec![Some(reason)], ..verdict("capital") };
        let [a, b, c] = ["a", "b", "c"].map(|id| line(&verdict(id)));
        let unscored = line(&unscored);
        std::fs::write(&path, format!("{unscored}{a}{unscored}{b}{{\"item_id\":")).unwrap();

        let (mut sink, finished) = open(&path, Onto::Same).unwrap();
        assert!(finished.has("a") && finished.has("b") && !finished.has("capital"));
        sink.take(&judged(0, "c")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), [a, b, c].concat());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn verdicts_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        std::fs::write(&path, "{\"item_id\":\"a\"}\n").unwrap();
        assert!(matches!(open(&path, Onto::Nothing), Err(SinkError::NotEmpty { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"item_id\":\"a\"}\n");
    }

    #[test]
    fn a_verdict_by_another_judge_is_not_written_beside_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let first = line(&verdict("a"));
        std::fs::write(&path, &first).unwrap();
        let mut other = verdict("b");
        other.provenance.model_digest = Some("fedcba9876543210".to_owned());
        let event = Event::Judged(Place { line: 1, number: 0 }, Box::new(other));

        let (mut sink, _) = open(&path, Onto::Same).unwrap();
        assert!(matches!(sink.take(&event), Err(SinkError::OtherJudge { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        let (mut sink, _) = open(&path, Onto::Any).unwrap();
        sink.take(&event).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
