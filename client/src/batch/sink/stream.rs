//! Verdicts for whoever reads them now: those before their turn wait in memory.

use std::io::Write;

use super::{SinkError, Turn, failed};
use crate::batch::order::InOrder;

/// A writer of verdicts.
pub struct Stream {
    name: String,
    writer: Box<dyn Write + Send>,
    /// `None` writes verdicts as they are ready.
    order: Option<InOrder<String>>,
}

// === impl Stream ===

impl Stream {
    pub fn new(name: &str, writer: Box<dyn Write + Send>, ordered: bool) -> Self {
        Self { name: name.to_owned(), writer, order: ordered.then(InOrder::new) }
    }

    pub fn take(&mut self, number: u64, turn: Turn<'_>) -> Result<(), SinkError> {
        let line = match turn {
            Turn::Judged { line, .. } => Some(line),
            Turn::Known(_) | Turn::Nothing => None,
            Turn::Again(_) => return Ok(()),
        };
        let ready = match &mut self.order {
            Some(order) => order.put(number, line),
            None => line.into_iter().collect(),
        };
        self.write(&ready)
    }

    /// Writes what is still held back for an earlier one that will not come.
    pub fn finish(mut self) -> Result<(), SinkError> {
        let rest = self.order.as_mut().map(InOrder::take_rest).unwrap_or_default();
        self.write(&rest)
    }

    fn write(&mut self, lines: &[String]) -> Result<(), SinkError> {
        let mut write = |line: &String| {
            self.writer.write_all(line.as_bytes()).and_then(|()| self.writer.flush())
        };
        lines.iter().try_for_each(&mut write).map_err(failed(&self.name))
    }
}
