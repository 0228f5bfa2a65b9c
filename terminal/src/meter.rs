//! Progress on stderr: a live line on a terminal, single lines elsewhere, nothing with --quiet. In a server process the
//! lines are log lines, so that its log has one format.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jury_grm::domain::{Phase as JudgingPhase, Progress as Judging};
use jury_worker::models::{Phase as FetchPhase, Progress as FetchProgress};
use tracing::info;

use crate::page::note;

/// How often a live line is redrawn while nothing happens, so that its clock keeps running.
const TICK: Duration = Duration::from_millis(200);

/// Shortest time between two lines about a batch if there is no live line.
const BETWEEN_LINES: Duration = Duration::from_secs(20);

/// Shows progress to a person.
pub struct Meter {
    show: Show,
    bar: ProgressBar,
    /// The last message, if every change is printed as a separate line.
    said: Mutex<String>,
    /// When the number of finished items was last printed.
    last_told: Mutex<Instant>,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Live,
    Lines,
    Logged,
    Nothing,
}

// === impl Meter ===

impl Meter {
    /// Draws on stderr unless `quiet`.
    pub fn new(quiet: bool) -> Self {
        let show = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Show::Nothing,
            (false, true) => Show::Live,
            (false, false) => Show::Lines,
        };
        Self::showing(show)
    }

    /// For a server process: draws on a terminal, and logs elsewhere.
    pub fn serving() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self::showing(if is_terminal { Show::Live } else { Show::Logged })
    }

    fn showing(show: Show) -> Self {
        let bar = match show {
            Show::Live => ProgressBar::new_spinner(),
            Show::Lines | Show::Logged | Show::Nothing => {
                ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
            }
        };
        if show == Show::Live {
            bar.enable_steady_tick(TICK);
        }
        Self { show, bar, said: Mutex::default(), last_told: Mutex::new(Instant::now()) }
    }

    /// Starts a stage of unknown length.
    pub fn stage(&self, message: &str) {
        self.bar.set_style(style("{spinner} {msg} ({elapsed})"));
        self.bar.unset_length();
        self.say(message);
    }

    /// Starts a batch of items, with an estimate of the time left.
    pub fn items(&self, total: Option<u64>) {
        self.bar.set_message("");
        self.bar.set_position(0);
        *self.last_told.lock().expect("nothing panics while it holds this lock") = Instant::now();
        let Some(total) = total else {
            self.bar.set_style(style("{spinner} {pos} items, {elapsed} {msg}"));
            return;
        };
        self.bar.set_style(style("{bar:30} {pos} of {len} items, {elapsed}, {eta} left {msg}"));
        self.bar.set_length(total);
    }

    /// Starts a known number of measurements.
    pub fn runs(&self, total: u64) {
        self.bar.set_style(style("{bar:30} {pos} of {len} runs, {elapsed}, {eta} left: {msg}"));
        self.bar.set_length(total);
    }

    /// Describes the measurement that starts now.
    pub fn run(&self, message: &str) {
        self.say(message);
    }

    /// One measurement is finished.
    pub fn run_done(&self) {
        self.bar.inc(1);
    }

    /// One more item is finished.
    pub fn item_done(&self) {
        self.bar.inc(1);
        let mut last_told = self.last_told.lock().expect("nothing panics while it holds this lock");
        if self.show == Show::Lines && last_told.elapsed() >= BETWEEN_LINES {
            *last_told = Instant::now();
            match self.bar.length() {
                Some(length) => note(format_args!("{} of {length} items", self.bar.position())),
                None => note(format_args!("{} items", self.bar.position())),
            }
        }
    }

    /// Shows the progress of one item's samples.
    pub fn judging(&self, progress: Judging) {
        let Judging { phase, samples_done, samples_asked, generated_tokens } = progress;
        match phase {
            JudgingPhase::Waiting => self.stage("waiting for a worker"),
            JudgingPhase::Prefill => self.stage("reading the prompt"),
            JudgingPhase::Drawing => {
                let samples = format!("{samples_done} of {samples_asked} samples");
                match self.show {
                    Show::Live => {
                        self.bar.set_style(style("{bar:20} {msg} ({elapsed})"));
                        self.bar.set_length(samples_asked.into());
                        self.bar.set_position(samples_done.into());
                        self.bar.set_message(format!("{samples}, {generated_tokens} tokens"));
                    }
                    Show::Lines | Show::Logged => self.say(&samples),
                    Show::Nothing => {}
                }
            }
        }
    }

    /// Prints a permanent line above the live one; also with --quiet.
    pub fn print(&self, line: &str) {
        match self.show {
            Show::Logged => info!("{line}"),
            _ => self.bar.suspend(|| note(line)),
        }
    }

    /// Removes the live line.
    pub fn clear(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }

    fn say(&self, message: &str) {
        self.bar.set_message(message.to_owned());
        if !matches!(self.show, Show::Lines | Show::Logged) {
            return;
        }
        let mut said = self.said.lock().expect("nothing panics while it holds this lock");
        if *said != message {
            match self.show {
                Show::Logged => info!("{message}"),
                _ => note(message),
            }
            message.clone_into(&mut said);
        }
    }
}

impl FetchProgress for Meter {
    fn phase(&self, phase: FetchPhase) {
        self.stage(phase.describe());
    }

    fn advanced(&self, done_bytes: u64, total_bytes: u64) {
        if total_bytes > 0 {
            self.bar.set_style(style("{bar:20} {msg} {bytes} of {total_bytes} ({eta} left)"));
            self.bar.set_length(total_bytes);
        }
        self.bar.set_position(done_bytes);
    }

    fn note(&self, message: &str) {
        if self.show != Show::Nothing {
            self.print(message);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants of this file")
        .progress_chars("=> ")
}
