//! Lines of a batch to requests, as fast as they are asked for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use futures::{Stream, StreamExt};
use jury_grm::domain::ScoreRequest;
use jury_terminal::exit::{Exit, Failed, OrExit};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::lines::{Line, Lines};
use super::lock;
use super::resume::Finished;
use super::tally::Tally;
use crate::score::config::Source;

/// Lines read ahead: enough to hide the disk, little enough to hold in memory.
const READ_AHEAD: usize = 16;

/// Turns lines into requests, and tells the tally about the others.
pub struct Feed {
    request: ScoreRequest,
    finished: Finished,
    /// The line of every id so far: an id names its verdict, so it stands for one item.
    lines_by_id: HashMap<String, u64>,
    tally: Arc<Mutex<Tally>>,
}

/// Opens a batch.
pub fn open(source: &Source) -> Result<Box<dyn BufRead + Send>, Failed> {
    match source {
        Source::Stdin => Ok(Box::new(BufReader::new(io::stdin()))),
        Source::File(path) => {
            let file = File::open(path).with_context(|| named(source)).or_exit(Exit::NoInput)?;
            Ok(Box::new(BufReader::new(file)))
        }
    }
}

/// A batch in a message, by the option that named it.
pub fn named(source: &Source) -> String {
    format!("--items: {}", source.name())
}

// === impl Feed ===

impl Feed {
    /// Every item gets `request`, and none that is `finished` is asked for again.
    pub fn new(request: ScoreRequest, finished: Finished, tally: Arc<Mutex<Tally>>) -> Self {
        Self { request, finished, lines_by_id: HashMap::new(), tally }
    }

    /// The requests, in the order of their lines.
    pub fn requests(
        mut self,
        reader: Box<dyn BufRead + Send>,
    ) -> impl Stream<Item = ScoreRequest> + Send + 'static {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        // Its own thread, not the runtime's: a terminal's stdin may never end, and nobody waits
        // for this thread when the process does.
        std::thread::spawn(move || {
            for line in Lines::new(reader) {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    return;
                }
            }
        });
        ReceiverStream::new(lines).filter_map(move |line| {
            let request = self.request_of(line);
            async move { request }
        })
    }

    fn request_of(&mut self, line: io::Result<Line>) -> Option<ScoreRequest> {
        let mut tally = lock(&self.tally);
        let Line { number, content } = match line {
            Ok(line) => line,
            Err(error) => {
                tally.unreadable(error);
                return None;
            }
        };
        let named = match content {
            Ok(named) => named,
            Err(bad) => {
                tally.bad_line(number, &bad);
                return None;
            }
        };
        for key in &named.unknown_keys {
            tally.unknown_key(key);
        }
        let id = &named.item.id;
        if let Some(first) = self.lines_by_id.get(id) {
            let problem = format!("its id {id:?} is that of line {first}; give every item its own");
            tally.bad_line(number, &problem);
            return None;
        }
        self.lines_by_id.insert(id.clone(), number);
        if self.finished.has(id) {
            tally.skipped();
            return None;
        }
        let request = ScoreRequest { item: named.item, ..self.request.clone() };
        if let Err(problem) = request.validate() {
            tally.bad_line(number, &problem);
            return None;
        }
        tally.asked(number);
        Some(request)
    }
}
