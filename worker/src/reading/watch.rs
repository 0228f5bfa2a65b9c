//! Detects where a text ends while the model is still writing it.

use jury_grm::domain::Settings;
use jury_grm::guide::CritiqueWatch;
use jury_grm::parse::{ScoreBoxWatch, ScoreShape};

/// Watches one sample's text as it grows.
#[derive(Debug, Clone)]
pub struct TextWatch {
    until: Until,
}

/// Characters at which a text may end: a heading's colon, a line's end, a box's braces.
const MAY_END: [char; 5] = [':', '：', '\n', '{', '}'];

#[derive(Debug, Clone)]
enum Until {
    /// Guided: the backend continues where the critique has ended.
    CritiqueEnds(CritiqueWatch),
    /// Free: the score box is complete.
    BoxCloses(ScoreBoxWatch),
}

// === impl TextWatch ===

impl TextWatch {
    pub(super) fn new(settings: &Settings, shape: &ScoreShape) -> Self {
        let until = match settings.readout.is_guided() {
            true => Until::CritiqueEnds(CritiqueWatch::beginning(shape.begins())),
            false => Until::BoxCloses(ScoreBoxWatch::new(shape.clone())),
        };
        Self { until }
    }

    /// True once `text`, the whole text so far, has ended.
    pub fn has_ended(&mut self, text: &str) -> bool {
        match &mut self.until {
            Until::CritiqueEnds(watch) => watch.look(text),
            Until::BoxCloses(watch) => watch.look(text),
        }
    }

    /// Where the text has ended, however it was split into pieces: a busy server sends several tokens at once, and the
    /// end may be among them. Only what follows byte `told` is new.
    pub fn end_after(&mut self, told: usize, text: &str) -> Option<usize> {
        let stops = text[told..].match_indices(MAY_END).map(|(at, stop)| told + at + stop.len());
        let mut inside = stops.filter(|&stop| stop < text.len()).peekable();
        let mut before = inside.peek().is_some().then(|| self.clone());
        if self.has_ended(text) {
            return Some(text.len());
        }
        let before = before.as_mut()?;
        inside.find(|&stop| before.has_ended(&text[..stop]))
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Readout;

    use super::*;

    #[test]
    fn a_text_ends_at_the_same_place_in_whatever_pieces_it_comes() {
        let shape = ScoreShape::new(2, Settings::default().scale);
        for (readout, text, ended) in [
            (Readout::Expected, "fine\nScores: \\boxed{8, 7}\nbye", "fine\nScores:"),
            (Readout::Expected, "fine\n### Scores\n\\boxed{8, 7}", "fine\n### Scores\n"),
            (Readout::Expected, "<think>Scores: 8</think>a: b\nc", ""),
            (Readout::Free, "Scores: \\boxed{8, 7}\nScores: as I said", "Scores: \\boxed{8, 7}"),
        ] {
            for pieces in [1, 4, text.len()] {
                let settings = Settings { readout, ..Settings::default() };
                let mut watch = TextWatch::new(&settings, &shape);
                let cuts = (pieces..text.len()).step_by(pieces).chain([text.len()]);
                let starts = std::iter::once(0).chain((pieces..text.len()).step_by(pieces));
                let end =
                    starts.zip(cuts).find_map(|(told, cut)| watch.end_after(told, &text[..cut]));
                assert_eq!(&text[..end.unwrap_or(0)], ended, "in pieces of {pieces}");
            }
        }
    }

    #[test]
    fn a_guided_text_ends_with_its_critique_and_a_free_one_with_its_box() {
        let shape = ScoreShape::new(2, Settings::default().scale);
        let watch = |readout| TextWatch::new(&Settings { readout, ..Settings::default() }, &shape);
        let (heading, boxed) = ("fine\nScores:", "fine\nScores: \\boxed{8, 7}");
        assert!(watch(Readout::Expected).has_ended(heading));
        let mut free = watch(Readout::Free);
        assert!(!free.has_ended(heading));
        assert!(free.has_ended(boxed));
    }
}
