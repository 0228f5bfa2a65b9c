//! Where a text ends while the model still writes it.

use jury_grm::domain::Settings;
use jury_grm::guide::CritiqueWatch;
use jury_grm::parse::{ScoreBoxWatch, ScoreShape};

/// Looks at one sample's text as it grows.
#[derive(Debug)]
pub struct TextWatch {
    until: Until,
}

#[derive(Debug)]
enum Until {
    /// Guided: the backend writes on where the critique has ended.
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

    /// True once the text, all of it so far, has come to its end.
    pub fn has_ended(&mut self, text: &str) -> bool {
        match &mut self.until {
            Until::CritiqueEnds(watch) => watch.look(text),
            Until::BoxCloses(watch) => watch.look(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Readout;

    use super::*;

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
