//! Samples as they are drawn, each with its meta score if a separate model gives one: it ranks while others are drawn.

use jury_grm::domain::{Progress, SampleSpec};
use jury_proto::convert::TooLong;

use super::calls::MetaCalls;
use crate::dispatch::{Drawing, Drew, Effort};
use crate::progress::Spent;

/// A [`Drawing`] whose samples are ranked by the Meta RM.
pub(crate) struct RankedDrawing {
    drawing: Drawing,
    /// `None`: samples pass through unranked.
    meta: Option<MetaCalls>,
    /// Whether every sample has left the drawing.
    is_drawn: bool,
}

// === impl RankedDrawing ===

impl RankedDrawing {
    pub(crate) fn new(drawing: Drawing, meta: Option<MetaCalls>) -> Self {
        Self { drawing, meta, is_drawn: false }
    }

    /// What happens next; `None` when every planned sample has been returned. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Drew> {
        let Some(meta) = &mut self.meta else { return self.drawing.next().await };
        loop {
            if self.is_drawn && meta.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                sample = meta.next(), if !meta.is_empty() => return Some(Drew::Sample(sample)),
                drew = self.drawing.next(), if !self.is_drawn => match drew {
                    Some(Drew::Sample(sample)) => meta.push(sample),
                    Some(Drew::Progress) => return Some(Drew::Progress),
                    None => self.is_drawn = true,
                },
            }
        }
    }

    /// As [`Drawing::add`].
    pub(crate) fn add(&mut self, spec: SampleSpec) {
        self.is_drawn = false;
        self.drawing.add(spec);
    }

    /// The verdict is decided: nothing more is drawn or ranked.
    pub(crate) fn stop(&mut self) {
        self.drawing.stop();
        if let Some(meta) = &mut self.meta {
            meta.stop();
        }
    }

    /// As [`Drawing::too_long`].
    pub(crate) fn too_long(&self) -> Option<(u32, TooLong)> {
        self.drawing.too_long()
    }

    /// As [`Drawing::progress`].
    pub(crate) fn progress(&self) -> Progress {
        self.drawing.progress()
    }

    /// As [`Drawing::spent`].
    pub(crate) fn spent(&self) -> Spent {
        self.drawing.spent()
    }

    /// As [`Drawing::abandon`].
    pub(crate) fn abandon(self) -> Effort {
        self.drawing.abandon()
    }

    /// As [`Drawing::into_effort`], plus the reason why samples have no meta score.
    pub(crate) fn into_effort(self) -> (Effort, Option<String>) {
        let why = self.meta.as_ref().and_then(|meta| meta.why().map(str::to_owned));
        (self.drawing.into_effort(), why)
    }
}
