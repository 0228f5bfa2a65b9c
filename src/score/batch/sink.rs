//! Where the verdicts of a batch go: whole lines, each flushed, so that nothing finished is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use jury_grm::domain::Verdict;
use jury_terminal::exit::{Exit, Failed, OrExit};

use super::resume::{Asked, Finished, ResumeError};
use crate::score::config::Output;
use crate::score::json_line;

/// Takes one verdict a line.
pub enum Sink {
    Stdout,
    File(File),
}

// === impl Sink ===

impl Sink {
    /// Opens the output, and tells which items it already has. A file with content is gone on
    /// with or refused, never overwritten: verdicts are dear. Gone on with, it loses only the
    /// lines without reward whose items are judged again.
    pub fn open(output: &Output, asked: &Asked) -> Result<(Self, Finished), Failed> {
        let Some(path) = &output.out else { return Ok((Self::Stdout, Finished::default())) };
        let name = || path.display().to_string();
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .with_context(name)
            .or_exit(Exit::CannotWrite)?;
        if !output.resume {
            let is_empty = file
                .metadata()
                .map(|found| found.len() == 0)
                .with_context(name)
                .or_exit(Exit::CannotWrite)?;
            return if is_empty {
                Ok((Self::File(file), Finished::default()))
            } else {
                Err(not_empty(path))
            };
        }
        let asked = if output.allow_mixed { None } else { Some(asked) };
        let finished = Finished::read(BufReader::new(&file), asked).map_err(|error| {
            let exit = match &error {
                ResumeError::NotAVerdict { .. } => Exit::BadData,
                ResumeError::Mixed { .. } => Exit::Usage,
                ResumeError::Io(_) => Exit::NoInput,
            };
            Failed::new(exit, anyhow::Error::from(error).context(name()))
        })?;
        if !finished.to_retry.is_empty() {
            file = without(path, &file, &finished).with_context(name).or_exit(Exit::CannotWrite)?;
            return Ok((Self::File(file), finished));
        }
        file.set_len(finished.whole_bytes)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .with_context(name)
            .or_exit(Exit::CannotWrite)?;
        Ok((Self::File(file), finished))
    }

    pub fn write(&mut self, verdict: &Verdict) -> Result<(), Failed> {
        let line = json_line(verdict)?;
        let written = match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
            }
            // A file has no buffer of ours.
            Self::File(file) => file.write_all(line.as_bytes()),
        };
        written.or_exit(Exit::CannotWrite)
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

fn not_empty(path: &Path) -> Failed {
    let problem = "has content already; add --resume to go on with it, or name another file";
    Failed::new(Exit::Usage, anyhow::anyhow!("--out: {} {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use jury_grm::domain::{Item, Query, Reason, ReasonCode, ScoreRequest, Status};

    use super::*;
    use crate::score::render::sample_verdict;

    fn output(out: PathBuf, resume: bool) -> Output {
        Output {
            json: false,
            quiet: true,
            out: Some(out),
            resume,
            allow_mixed: false,
            unordered: false,
            in_flight: jury_client::InFlight::Fixed(1),
        }
    }

    /// What the sample verdict was asked with.
    fn asked() -> Asked {
        let verdict = sample_verdict(&[]);
        let item = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]);
        let settings = verdict.provenance.settings;
        Asked::of(&ScoreRequest { settings, seed: 7, ..ScoreRequest::new(item) })
    }

    #[test]
    fn a_batch_goes_on_after_the_last_whole_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let (mut sink, _) = Sink::open(&output(path.clone(), false), &asked()).unwrap();
        let verdict = sample_verdict(&[]);
        sink.write(&verdict).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"item_id\":"].concat()).unwrap();

        let (mut sink, finished) = Sink::open(&output(path.clone(), true), &asked()).unwrap();
        assert!(finished.has("capital"));
        sink.write(&verdict).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [&whole[..], &whole[..]].concat());
    }

    #[test]
    fn only_the_lines_to_be_judged_again_go_and_the_next_verdict_comes_after_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let reason = Reason { code: ReasonCode::Budget, detail: "too short".to_owned() };
        let unscored = Verdict {
            status: Status::Unscored,
            reasons: vec![Some(reason)],
            ..sample_verdict(&[])
        };
        let lines = |verdicts: &[&Verdict]| -> String {
            verdicts.iter().map(|verdict| json_line(verdict).unwrap()).collect()
        };
        let named = |id: &str| Verdict { item_id: id.to_owned(), ..sample_verdict(&[]) };
        let (a, b, c) = (named("a"), named("b"), named("c"));
        let before = lines(&[&unscored, &a, &unscored, &b]) + "{\"item_id\":";
        std::fs::write(&path, before).unwrap();

        let (mut sink, finished) = Sink::open(&output(path.clone(), true), &asked()).unwrap();
        assert!(finished.has("a") && finished.has("b") && !finished.has("capital"));
        sink.write(&c).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(&[&a, &b, &c]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn verdicts_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        std::fs::write(&path, "{\"item_id\":\"a\"}\n").unwrap();
        let Err(failed) = Sink::open(&output(path.clone(), false), &asked()) else {
            panic!("opened")
        };
        assert_eq!(failed.exit, Exit::Usage);
        assert!(failed.error.to_string().contains("--resume"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"item_id\":\"a\"}\n");
    }
}
