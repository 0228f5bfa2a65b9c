//! Items, one a line, in; verdicts, one a line, out. For every front door: nothing here knows a command line.
//!
//! ```text
//! lines (own thread) -> feed -> Client::score_many -> events, as they happen -> sink: in order, one a line
//!                        |                              ^
//!                        +---- bad lines, known ids ----+
//! items    all items of a file, at once         resume    what a file of verdicts already has
//! ```
//!
//! A line that is no item is told of and the others run. What this does NOT promise: that events come in the order of
//! the lines (a [`Sink`] puts verdicts back into it), or that every line has an event once reading broke off.

mod feed;
#[cfg(test)]
mod fixture;
mod items;
mod lines;
mod order;
mod resume;
mod sink;
mod text;

use std::collections::{HashMap, VecDeque};
use std::io::BufRead;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures::stream::{BoxStream, FusedStream};
use futures::{Stream, StreamExt};
use jury_grm::domain::{ScoreRequest, Verdict};

use self::feed::{Feed, Told};
pub use self::items::{ItemsError, check_items, count_items, read_items};
pub use self::lines::{BadLine, Line, Lines, NamedItem};
pub use self::resume::{Finished, Known, ResumeError};
pub use self::sink::{Onto, Sink, SinkError, read_verdicts};
pub use self::text::{NotText, text};
use crate::many::ItemAnswer;
use crate::{Client, ClientError};

/// What became of a line.
#[derive(Debug)]
pub enum Event {
    /// It is no item, or none that can be judged.
    Bad {
        /// 1-based, as editors count.
        line: u64,
        /// What is wrong with it.
        problem: BadLine,
    },
    /// Nobody looks at this key of its item.
    UnknownKey {
        /// 1-based.
        line: u64,
        /// The key, as written.
        key: String,
    },
    /// Its item is being judged.
    Asked(Place),
    /// Its item has a verdict that is not the last word, and is to be judged again; that verdict stands until then.
    Again(Place, Known),
    /// Its item, which has this id, is to be judged again: what has its verdict was another item under that id.
    Changed(Place, String),
    /// Its item has had its verdict before.
    Known(Place, Known),
    /// Its item has a verdict, which may be PARTIAL or UNSCORED.
    Judged(Place, Box<Verdict>),
    /// Its item got no verdict.
    Failed(Place, ClientError),
    /// The lines could not be read on; those in flight are still answered.
    BrokeOff(ItemsError),
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line of the batch, 1-based.
    pub line: u64,
    /// Place among the items that can be judged, from 0: none is left out.
    pub number: u64,
}

/// Judges the items of `reader`, each with `request`, whose own item is a placeholder; none that is `finished` is asked
/// for again. Every item that can be judged has one [`Event::Known`], or an [`Event::Asked`], which may follow an
/// [`Event::Again`] or an [`Event::Changed`], and then one [`Event::Judged`] or [`Event::Failed`].
///
/// As many items are judged at once as [`ClientConfig::in_flight`](crate::ClientConfig::in_flight) says, and few lines
/// are read ahead. Dropping the stream cancels what is in flight; a thread that waits for the next line of a terminal
/// ends when the line comes.
pub fn score(
    client: &Client,
    request: ScoreRequest,
    finished: Finished,
    reader: Box<dyn BufRead + Send>,
) -> impl Stream<Item = Event> + Send + use<> {
    let told = Arc::<Mutex<VecDeque<Told>>>::default();
    let requests = Feed::new(request, finished, Arc::clone(&told)).requests(reader);
    let answers = client.score_many(requests).boxed().fuse();
    Events { answers, told, asked: HashMap::new(), next_sequence: 0, answer: None }
}

/// Answers, and what the feed tells of its lines meanwhile.
struct Events {
    answers: futures::stream::Fuse<BoxStream<'static, ItemAnswer>>,
    /// What the feed met. It is polled as part of `answers`, so this holds what one poll brings.
    told: Arc<Mutex<VecDeque<Told>>>,
    /// The unanswered requests, by sequence.
    asked: HashMap<u64, Place>,
    next_sequence: u64,
    /// Waits until the feed's own events are taken.
    answer: Option<ItemAnswer>,
}

// === impl Events ===

impl Events {
    fn next_told(&mut self) -> Option<Event> {
        let told =
            self.told.lock().expect("nothing panics while it holds this lock").pop_front()?;
        Some(match told {
            Told::Event(event) => event,
            Told::Asked(place) => {
                self.asked.insert(self.next_sequence, place);
                self.next_sequence += 1;
                Event::Asked(place)
            }
        })
    }

    fn answered(&mut self, (sequence, answer): ItemAnswer) -> Event {
        let place =
            self.asked.remove(&sequence).expect("a request is answered once, after it was told of");
        match answer {
            Ok(verdict) => Event::Judged(place, Box::new(verdict)),
            Err(error) => Event::Failed(place, error),
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.next_told() {
                return Poll::Ready(Some(event));
            }
            if let Some(answer) = self.answer.take() {
                return Poll::Ready(Some(self.answered(answer)));
            }
            if self.answers.is_terminated() {
                return Poll::Ready(None);
            }
            let polled = self.answers.poll_next_unpin(context);
            if polled.is_pending()
                && let Some(event) = self.next_told()
            {
                return Poll::Ready(Some(event));
            }
            self.answer = ready!(polled);
        }
    }
}
