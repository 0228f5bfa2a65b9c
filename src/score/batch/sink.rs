//! Where the verdicts of a batch go: whole lines, each flushed, so that nothing finished is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use jury_grm::domain::Verdict;

use super::resume::Finished;
use crate::exit::{Exit, Failed, OrExit};
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
    /// with or refused, never overwritten: verdicts are dear.
    pub fn open(output: &Output) -> Result<(Self, Finished), Failed> {
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
        let finished =
            Finished::read(BufReader::new(&file)).with_context(name).or_exit(Exit::BadData)?;
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

fn not_empty(path: &Path) -> Failed {
    let problem = "has content already; add --resume to go on with it, or name another file";
    Failed::new(Exit::Usage, anyhow::anyhow!("--out: {} {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::score::render::sample_verdict;

    fn output(out: PathBuf, resume: bool) -> Output {
        Output {
            json: false,
            quiet: true,
            out: Some(out),
            resume,
            unordered: false,
            concurrency: 1,
        }
    }

    #[test]
    fn a_batch_goes_on_after_the_last_whole_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let (mut sink, _) = Sink::open(&output(path.clone(), false)).unwrap();
        let verdict = sample_verdict(&[]);
        sink.write(&verdict).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"item_id\":"].concat()).unwrap();

        let (mut sink, mut finished) = Sink::open(&output(path.clone(), true)).unwrap();
        assert!(finished.take("capital"));
        sink.write(&verdict).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [&whole[..], &whole[..]].concat());
    }

    #[test]
    fn verdicts_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        std::fs::write(&path, "{\"item_id\":\"a\"}\n").unwrap();
        let Err(failed) = Sink::open(&output(path.clone(), false)) else { panic!("opened") };
        assert_eq!(failed.exit, Exit::Usage);
        assert!(failed.error.to_string().contains("--resume"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"item_id\":\"a\"}\n");
    }
}
