//! Lines of a batch to requests, as fast as they are asked for.

use std::collections::{HashMap, VecDeque};
use std::io::BufRead;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use jury_grm::domain::ScoreRequest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::items::ItemsError;
use super::lines::{BadLine, Line, Lines};
use super::resume::{Before, Finished};
use super::{Event, Place};

/// Lines read ahead: enough to hide the disk, little enough to hold in memory.
const READ_AHEAD: usize = 16;

/// What the feed has to say.
#[derive(Debug)]
pub enum Told {
    /// The next request, in the order in which the client takes them, is this item's.
    Asked(Place),
    Event(Event),
}

/// Turns lines into requests, and tells of the others.
pub struct Feed {
    request: ScoreRequest,
    finished: Finished,
    /// The line of every id so far: an id names its verdict, so it stands for one item.
    lines_by_id: HashMap<String, u64>,
    /// Items so far that can be judged.
    n_items: u64,
    told: Arc<Mutex<VecDeque<Told>>>,
}

// === impl Feed ===

impl Feed {
    /// Every item gets `request`, and none that is `finished` is asked for again.
    pub fn new(
        request: ScoreRequest,
        finished: Finished,
        told: Arc<Mutex<VecDeque<Told>>>,
    ) -> Self {
        Self { request, finished, lines_by_id: HashMap::new(), n_items: 0, told }
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

    fn request_of(&mut self, line: Result<Line, ItemsError>) -> Option<ScoreRequest> {
        let Line { number: line, content } = match line {
            Ok(line) => line,
            Err(error) => {
                self.tell(Told::Event(Event::BrokeOff(error)));
                return None;
            }
        };
        let request = content.and_then(|named| {
            for key in named.unknown_keys {
                self.tell(Told::Event(Event::UnknownKey { line, key }));
            }
            let id = &named.item.id;
            if let Some(&first) = self.lines_by_id.get(id) {
                return Err(BadLine::SameId { id: id.clone(), first });
            }
            let place = Place { line, number: self.n_items };
            let before = self.finished.before(&named.item);
            if let Before::Judged(known) = before {
                self.claim(&known.id, line);
                self.tell(Told::Event(Event::Known(place, known)));
                return Ok(None);
            }
            let request = ScoreRequest { item: named.item, ..self.request.clone() };
            request.validate().map_err(BadLine::Refused)?;
            self.claim(&request.item.id, line);
            match before {
                Before::Again(known) => self.tell(Told::Event(Event::Again(place, known))),
                Before::Changed => {
                    let id = request.item.id.clone();
                    self.tell(Told::Event(Event::Changed(place, id)));
                }
                Before::Judged(_) | Before::Nothing => {}
            }
            self.tell(Told::Asked(place));
            Ok(Some(request))
        });
        match request {
            Ok(request) => request,
            Err(problem) => {
                self.tell(Told::Event(Event::Bad { line, problem }));
                None
            }
        }
    }

    /// Counts an item that can be judged: from now on its id is its own. A bad line has none.
    fn claim(&mut self, id: &str, line: u64) {
        self.lines_by_id.insert(id.to_owned(), line);
        self.n_items += 1;
    }

    fn tell(&self, told: Told) {
        self.told.lock().expect("nothing panics while it holds this lock").push_back(told);
    }
}
