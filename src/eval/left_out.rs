//! What is left out of judging or training: a message with the first names, and a file with all of them.

use std::path::Path;

use jury_eval::judged::{Strangers, of_items};
use jury_grm::domain::{Item, Verdict, json_line};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use serde::Serialize;

use super::files::write;

/// Names in a message; the file has all.
const SHOWN: usize = 5;

/// Everything that was left out so far.
#[derive(Debug, Default)]
pub struct LeftOut(Vec<Line>);

/// A line of the file.
#[derive(Debug, Serialize)]
struct Line {
    /// `items` or `conversations`.
    what: &'static str,
    /// The id, or file and line if there is none.
    id: String,
    why: String,
}

// === impl LeftOut ===

impl LeftOut {
    /// The file in the folder of a run.
    pub const FILE: &str = "left-out.jsonl";

    /// Reports how many are left out, why, and the first names.
    pub fn tell(&mut self, meter: &Meter, what: &'static str, why: &str, ids: Vec<String>) {
        let n = ids.len();
        if n > 0 {
            let more = if n > SHOWN { ", .." } else { "" };
            let first = ids[..n.min(SHOWN)].join(", ");
            meter.print(&format!("jury: {n} {what} left out: {why}: {first}{more}"));
        }
        self.0.extend(ids.into_iter().map(|id| Line { what, id, why: why.to_owned() }));
    }

    /// Reports a single one.
    pub fn tell_one(&mut self, meter: &Meter, what: &'static str, id: String, why: String) {
        meter.print(&format!("jury: {id}: {why}; left out"));
        self.0.push(Line { what, id, why });
    }

    /// Returns the verdicts of `items`, and reports the others.
    pub fn verdicts_of(
        &mut self,
        meter: &Meter,
        items: &[Item],
        folder: &Path,
        verdicts: Vec<Verdict>,
    ) -> Vec<Verdict> {
        let (kept, Strangers { of_others, unknown }) = of_items(items, verdicts);
        let place = folder.display();
        let why = format!("the samples in {place} under their ids are of different items");
        self.tell(meter, "items", &why, of_others);
        let why = format!("{place} has samples of them, but they are not among the items");
        self.tell(meter, "items", &why, unknown);
        kept
    }

    /// Writes all names; without any, empties an older file.
    pub fn write(&self, folder: &Path) -> Result<(), Failed> {
        let path = folder.join(Self::FILE);
        if self.0.is_empty() && !path.exists() {
            return Ok(());
        }
        let lines = self.0.iter().map(json_line).collect::<Result<String, _>>();
        write(&path, lines.or_exit(Exit::Internal)?.as_bytes())
    }
}
