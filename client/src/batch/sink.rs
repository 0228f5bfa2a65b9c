//! Where the verdicts of a batch go: whole lines, each flushed, so that nothing finished is lost.
//!
//! ```text
//! stream   whoever reads: verdicts before their turn wait in memory
//! file     gone on with after a stop: they wait in a journal beside it
//! ```
//!
//! The law of a file in the order of items: any runs that end in whatever way, a kill included, and then one that ends
//! by itself leave the bytes of that one alone, as far as the verdicts are the same (their `run` never is), and no
//! verdict that was taken is asked for again, unless it is UNSCORED for a reason that may pass, or its item has changed.

mod file;
mod journal;
mod stored;
mod stream;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use jury_grm::domain::{ScoreRequest, Verdict, json_line};

use self::file::VerdictFile;
pub use self::stored::read_verdicts;
use self::stream::Stream;
use super::Event;
use super::resume::{Asked, Finished, JudgedBy, Known, ResumeError, Worth};
use crate::ServedJudge;

/// Takes events, and writes their verdicts, one a line.
pub struct Sink {
    out: Out,
    /// No verdicts of another judge may stand beside theirs: that of the lines before, else of the first that is taken.
    judged_by: Option<JudgedBy>,
    /// Verdicts of any judges may stand beside each other.
    takes_any_judge: bool,
}

enum Out {
    Stream(Stream),
    File(Box<VerdictFile>),
}

/// What the turn of an item brings.
enum Turn<'a> {
    /// A verdict, as a line, with its item's id.
    Judged {
        id: &'a str,
        line: String,
        worth: Worth,
    },
    /// The verdict of an earlier run.
    Known(&'a Known),
    /// The same, which stands unless a better one comes: this is no turn yet.
    Again(&'a Known),
    Nothing,
}

/// What a file of verdicts may hold when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// Nothing.
    Nothing,
    /// Verdicts that were asked for in the same way.
    Same,
    /// The same, of which those that are PARTIAL are judged again: only whole verdicts are wanted.
    SameWhole,
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
    /// Another process has it open.
    #[error("{name} is written by another process")]
    InUse {
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
        let out = Out::Stream(Stream::new(name, writer, ordered));
        Self { out, judged_by: None, takes_any_judge: true }
    }

    /// Writes to a file, and tells which items it already has. A file with content is gone on with or refused, never
    /// overwritten; gone on with, it loses only lines that a verdict of this run replaces: those of items that are judged
    /// again, and those of items that have changed since.
    ///
    /// What is no regular file (a pipe, a device) keeps nothing, and is a stream.
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
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false);
        let file = options.open(path).map_err(failed(&name))?;
        if !file.metadata().map_err(failed(&name))?.is_file() {
            return Ok((Self::stream(&name, Box::new(file), ordered), Finished::default()));
        }
        let is_same = matches!(onto, Onto::Same | Onto::SameWhole);
        let asked = is_same.then(|| Asked::of(request));
        let opened = VerdictFile::open(path, file, onto, asked.as_ref(), ordered)?;
        let finished = opened.file.finished();
        let judged_by = opened.judged_by.filter(|_| is_same);
        let out = Out::File(Box::new(opened.file));
        Ok((Self { out, judged_by, takes_any_judge: onto == Onto::Any }, finished))
    }

    /// Holds those who could judge now to who judged before. Each verdict is held to it, too: this tells of it before one is
    /// made, and where none is left to make.
    ///
    /// # Errors
    /// [`SinkError::OtherJudge`].
    pub fn hold(&self, judges: &[ServedJudge<'_>]) -> Result<(), SinkError> {
        let difference = self.judged_by.as_ref().and_then(|before| before.differ_from_all(judges));
        difference.map_or(Ok(()), |difference| Err(SinkError::OtherJudge { difference }))
    }

    /// The numerics class of the verdicts before, as far as they are held to anything.
    pub fn numerics(&self) -> Option<&str> {
        self.judged_by.as_ref()?.numerics.as_deref()
    }

    /// Takes every event of a batch; those without a place mean nothing here.
    ///
    /// # Errors
    /// [`SinkError`] when it cannot be written, or is not by the judge of the verdicts before it. What was taken
    /// before is kept.
    pub fn take(&mut self, event: &Event) -> Result<(), SinkError> {
        let (place, turn) = match event {
            Event::Judged(place, verdict) => {
                self.same_judge(verdict)?;
                let line = json_line(&**verdict);
                let line = line.map_err(|error| failed(&verdict.item_id)(error.into()))?;
                let (id, worth) = (&verdict.item_id, Worth::of(verdict));
                (place, Turn::Judged { id, line, worth })
            }
            Event::Known(place, known) => (place, Turn::Known(known)),
            Event::Again(place, known) => (place, Turn::Again(known)),
            Event::Failed(place, _) => (place, Turn::Nothing),
            _ => return Ok(()),
        };
        match &mut self.out {
            Out::Stream(stream) => stream.take(place.number, turn),
            Out::File(file) => file.take(place.number, turn),
        }
    }

    /// Writes what is still held back for an earlier one that will not come. Without it, as after a kill, that waits in
    /// the journal of a file.
    ///
    /// # Errors
    /// [`SinkError::Io`].
    pub fn finish(self) -> Result<(), SinkError> {
        match self.out {
            Out::Stream(stream) => stream.finish(),
            Out::File(file) => file.finish(),
        }
    }

    fn same_judge(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        if self.takes_any_judge {
            return Ok(());
        }
        let judge = JudgedBy::of(&verdict.provenance);
        let before = self.judged_by.as_ref().zip(judge.as_ref());
        if let Some(difference) = before.and_then(|(before, judge)| before.differ(judge)) {
            return Err(SinkError::OtherJudge { difference });
        }
        self.judged_by = JudgedBy::first(self.judged_by.take(), judge);
        Ok(())
    }
}

/// An error of a file, by its name.
fn failed(name: &str) -> impl Fn(io::Error) -> SinkError + Copy + '_ {
    move |source| SinkError::Io { name: name.to_owned(), source }
}

#[cfg(test)]
mod tests;
