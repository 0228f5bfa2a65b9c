//! What is not learned from: told with the first names, and in a file with all of them.

use std::path::Path;

use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use serde::Serialize;

use crate::eval::{items, write};

/// Everything that was left out so far.
#[derive(Debug, Default)]
pub struct LeftOut(Vec<Line>);

/// A line of the file.
#[derive(Debug, Serialize)]
struct Line {
    /// `items` or `conversations`.
    what: &'static str,
    id: String,
    why: String,
}

// === impl LeftOut ===

impl LeftOut {
    /// The file in the folder of a run.
    pub const FILE: &str = "left-out.jsonl";

    /// Tells how many are left out, why, and the first names.
    pub fn tell(&mut self, meter: &Meter, what: &'static str, why: &str, ids: Vec<String>) {
        items::tell_left_out(meter, what, why, &ids);
        self.0.extend(ids.into_iter().map(|id| Line { what, id, why: why.to_owned() }));
    }

    /// Writes all names; an older file goes where there are none.
    pub fn write(&self, folder: &Path) -> Result<(), Failed> {
        let path = folder.join(Self::FILE);
        if self.0.is_empty() && !path.exists() {
            return Ok(());
        }
        let lines = self.0.iter().map(json_line).collect::<Result<String, _>>();
        write(&path, lines.or_exit(Exit::Internal)?.as_bytes())
    }
}
