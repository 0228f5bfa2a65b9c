//! `jury score --items`: one item a line in, one verdict a line out.
//!
//! ```text
//! lines (own thread) -> feed -> Bench::score_many -> in order -> sink
//!                        |                                        |
//!                        +-- bad lines, known ids ----> tally <---+
//! ```
//!
//! A line that is no item is named on stderr and the others run. Each verdict is written whole as
//! soon as its turn comes; Ctrl-C writes what is finished, and --resume goes on from there.
//!
//! Not promised: that a batch with --resume comes out in the order of the items when the runs
//! before it left some out.

mod feed;
mod lines;
mod order;
mod resume;
mod sink;
mod tally;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow};
use futures::StreamExt;
use jury_client::ClientError;
use jury_fabric::shutdown::on_signals;
use jury_grm::domain::{Item, Verdict, limits};
use jury_proto::ErrorCode;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;

use self::feed::Feed;
use self::order::InOrder;
use self::resume::{Asked, JudgedBy};
use self::sink::Sink;
use self::tally::Tally;
use super::config::{ScoreConfig, Source};
use super::judge::Bench;

/// All items of a file, at once; the first bad line refuses it.
pub fn read_items(path: &Path) -> Result<Vec<Item>, Failed> {
    let source = Source::File(path.to_path_buf());
    if is_single_item(&source) {
        let name = source.name();
        let problem = anyhow!(
            "--items: {name} is one item over several lines; an item is one line: `jq -c . {name}`"
        );
        return Err(Failed::new(Exit::BadData, problem));
    }
    let mut items = Vec::new();
    for line in lines::Lines::new(feed::open(&source)?) {
        let line = line.map_err(|error| unreadable(&feed::named(&source), &error))?;
        let named = line
            .content
            .with_context(|| format!("{}:{}", source.name(), line.number))
            .or_exit(Exit::BadData)?;
        items.push(named.item);
    }
    Ok(items)
}

pub async fn run(config: &ScoreConfig, source: &Source, meter: &Meter) -> Result<Exit, Failed> {
    // Everything that can be refused, before a model is loaded.
    refuse_single_item(source)?;
    let total = count_items(source)?;
    let reader = feed::open(source)?;
    let (sink, finished) = Sink::open(&config.output, &Asked::of(&config.request))?;
    if !finished.to_retry.is_empty() && !config.output.quiet {
        let n = finished.to_retry.len();
        meter.print(&format!("jury: {n} items without reward so far are judged again"));
    }
    let judged_before = finished.judged_by.clone().filter(|_| !config.output.allow_mixed);

    let bench = Bench::open_for_batch(&config.judge, &config.output, meter)?;
    // From here on Ctrl-C ends the batch in order; before, there was nothing to lose.
    let signals = on_signals().or_exit(Exit::Internal)?;
    meter.items(total);
    let tally = Arc::new(Mutex::new(Tally::new(source.name(), config.budget())));
    let feed = Feed::new(config.request.clone(), finished, Arc::clone(&tally));
    let answers = bench.score_many(feed.requests(reader)).fuse();
    tokio::pin!(answers);

    let mut writer = Writer::new(sink, config.output.unordered);
    let ended = loop {
        tokio::select! {
            biased;
            () = signals.drain.cancelled() => break Ended::Interrupted,
            answer = answers.next() => match answer {
                None => break Ended::AllRead,
                Some((sequence, Err(error))) if is_nobody_there(&error) => {
                    lock(&tally).failed(sequence, &error);
                    break Ended::Failed(bench.failed(error));
                }
                Some((_, Ok(verdict)))
                    if let Some(problem) = other_judge(judged_before.as_ref(), &verdict) =>
                {
                    break Ended::Failed(problem);
                }
                Some((sequence, answer)) => {
                    let verdict = lock(&tally).record(sequence, answer);
                    writer.put(sequence, verdict)?;
                    meter.item_done();
                }
            },
        }
        for line in lock(&tally).take_messages() {
            meter.print(&line);
        }
    };
    writer.finish()?;
    meter.clear();
    let mut tally = lock(&tally);
    for line in tally.take_messages() {
        meter.print(&line);
    }
    if !config.output.quiet {
        meter.print(&tally.summary());
    }
    match ended {
        Ended::AllRead => tally.exit(),
        Ended::Interrupted => Ok(Exit::Interrupted),
        Ended::Failed(failed) => Err(failed),
    }
}

enum Ended {
    AllRead,
    Interrupted,
    /// Nobody is there to judge the rest, or not the one who judged before.
    Failed(Failed),
}

/// Verdicts on their way out.
struct Writer {
    sink: Sink,
    /// `None` writes them as they are ready.
    order: Option<InOrder<Verdict>>,
}

// === impl Writer ===

impl Writer {
    fn new(sink: Sink, unordered: bool) -> Self {
        let order = if unordered { None } else { Some(InOrder::new()) };
        Self { sink, order }
    }

    fn put(&mut self, sequence: u64, verdict: Option<Verdict>) -> Result<(), Failed> {
        let ready = match &mut self.order {
            Some(order) => order.put(sequence, verdict),
            None => verdict.into_iter().collect(),
        };
        ready.iter().try_for_each(|verdict| self.sink.write(verdict))
    }

    /// Writes what is still held back for an earlier one that will not come.
    fn finish(mut self) -> Result<(), Failed> {
        let mut rest = self.order.take().into_iter().flat_map(InOrder::into_rest);
        rest.try_for_each(|verdict| self.sink.write(&verdict))
    }
}

// === private ===

/// A single item is a likely mistake, and every line of it would be a bad one.
fn refuse_single_item(source: &Source) -> Result<(), Failed> {
    if is_single_item(source) {
        let name = source.name();
        let problem = anyhow!("--items: {name} is one item and no batch; leave --items out");
        return Err(Failed::new(Exit::Usage, problem));
    }
    Ok(())
}

/// True of a file with one item over several lines. A file that cannot be read is told of when it is opened.
fn is_single_item(source: &Source) -> bool {
    let Source::File(path) = source else { return false };
    let is_small = path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() <= limits::MAX_ITEM_BYTES as u64);
    is_small && std::fs::read(path).is_ok_and(|text| lines::is_one_item(&text))
}

/// Items of a file that can be read twice; nobody knows how many stdin has.
fn count_items(source: &Source) -> Result<Option<u64>, Failed> {
    let Source::File(path) = source else { return Ok(None) };
    let counted = File::open(path).and_then(|file| {
        // A pipe given as a file would be empty the second time.
        let is_file = file.metadata()?.is_file();
        if is_file { lines::count(BufReader::new(file)).map(Some) } else { Ok(None) }
    });
    counted.with_context(|| feed::named(source)).or_exit(Exit::NoInput)
}

/// A verdict that does not belong with those of the file is not written to it.
fn other_judge(before: Option<&JudgedBy>, verdict: &Verdict) -> Option<Failed> {
    let difference = before?.differ(&verdict.provenance)?;
    let way_out = "ask the same judge, name another file, or add --allow-mixed";
    let problem = anyhow!("--resume: {difference}; {way_out}");
    Some(Failed::new(Exit::Usage, problem))
}

/// The client has tried again already; every other item would fare the same.
fn is_nobody_there(error: &ClientError) -> bool {
    matches!(error.code, ErrorCode::Unreachable | ErrorCode::ShuttingDown)
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().expect("nothing panics while it holds this lock")
}

/// A file that cannot be read on.
fn unreadable(source: &str, error: &std::io::Error) -> Failed {
    Failed::new(Exit::NoInput, anyhow!("{source}: {error}"))
}
