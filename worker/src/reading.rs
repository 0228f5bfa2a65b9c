//! Makes a sample of a model's text, given the prompt's settings: pure, and the same for every backend.
//!
//! ```text
//! Reader           for one prompt: its settings, and the scores in the caller's text
//!   watch          while the text grows: has it ended?            free: its score box; guided: its critique
//!   guide          what a guided read-out writes and asks for
//!   sample         text, order and what was read out              -> Sample, scored or failed
//! longest_response which response to shorten
//! ```
//!
//! A backend supplies the text and, if it can, the probabilities of the scores; it never parses anything itself.
//! Nothing here depends on an engine, so a backend over another server reads its texts with the same functions.

mod guided;
mod prompt;
mod watch;

use jury_grm::domain::{
    Failure, FailureKind, Finish, Issue, Outcome, Sample, SampleSpec, Settings,
};
use jury_grm::parse::{Begins, Parsed, ScoreShape, parse_free};
use jury_grm::prompt::Message;

pub use guided::{Guide, GuideMode, GuidedScores};
pub use prompt::longest_response;
pub use watch::TextWatch;

/// Reads the texts that a model writes for one prompt. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Reader {
    settings: Settings,
    n_shown: usize,
    shape: ScoreShape,
}

/// A text that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnText {
    /// The whole text; in guided mode it ends with the score line that the backend wrote.
    pub text: String,
    /// What ended the part that the model wrote freely.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens that the model chose.
    pub generated_tokens: u32,
}

// === impl Reader ===

impl Reader {
    /// The reader of a prompt that shows `n_shown` responses. Takes time linear in the prompt if the model writes its
    /// scores itself. If the backend reads them from its own state, none can be planted.
    pub fn new(messages: &[Message], n_shown: usize, settings: &Settings) -> Self {
        let shape = match settings.readout.is_guided() {
            true => ScoreShape::new(n_shown, settings.scale),
            false => ScoreShape::of_prompt(messages, n_shown, settings.scale),
        };
        Self { settings: settings.clone(), n_shown, shape }
    }

    /// The same for texts that begin as `begins` says.
    #[must_use]
    pub fn beginning(self, begins: Begins) -> Self {
        Self { shape: self.shape.beginning(begins), ..self }
    }

    /// Where texts begin.
    pub fn begins(&self) -> Begins {
        self.shape.begins()
    }

    /// How texts are drawn.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Detects the end of one sample's text.
    pub fn watch(&self) -> TextWatch {
        TextWatch::new(&self.settings, &self.shape)
    }

    /// What a guided read-out asks for; `None` if the model writes its scores itself.
    pub fn guide(&self) -> Option<Guide> {
        Guide::of(&self.settings, self.n_shown, self.begins())
    }

    /// Makes the sample of a text. With free settings scores come from the text, with guided settings only from
    /// `guided`: a guided text without them is a failed sample, whatever it says.
    pub fn sample(
        &self,
        spec: SampleSpec,
        drawn: DrawnText,
        guided: Option<GuidedScores>,
    ) -> Sample {
        let DrawnText { text, finish, prompt_tokens, generated_tokens } = drawn;
        // A guided text ends with a score line that the backend wrote, so the same parser finds its sections.
        let Parsed { principles, critique, outcome, issues } =
            parse_free(&text, &self.shape, finish);
        let (outcome, issues) = match guided {
            None if self.settings.readout.is_guided() => (unread(), Vec::new()),
            None => (outcome, issues),
            Some(scores) => (scores.outcome(&self.settings), of_guided_text(issues)),
        };
        Sample {
            spec,
            principles,
            critique,
            outcome,
            finish,
            issues,
            prompt_tokens,
            generated_tokens,
            meta_score: None,
            hidden_state: None,
        }
    }
}

/// The outcome of a guided sample whose scores the backend did not read.
fn unread() -> Outcome {
    let detail = "the backend ended the sample without its read-out".to_owned();
    Outcome::Failed { failure: Failure { kind: FailureKind::Worker, detail } }
}

/// Issues about score boxes mean nothing if no box was parsed.
fn of_guided_text(mut issues: Vec<Issue>) -> Vec<Issue> {
    issues.retain(|issue| *issue == Issue::NoAnalysisHeading);
    issues
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Readout;

    use super::*;
    use crate::backend::scripted::example_group;

    fn drawn() -> DrawnText {
        let text =
            "Specific Criteria: truth\n\nAnalysis: the first is right.\n\nScores: \\boxed{10, 2}";
        DrawnText {
            text: text.to_owned(),
            finish: Finish::Box,
            prompt_tokens: 100,
            generated_tokens: 30,
        }
    }

    fn guided(mass: f64) -> GuidedScores {
        let mut first = vec![0.0; 10];
        (first[8], first[9]) = (0.25, 0.75);
        let mut second = vec![0.0; 10];
        second[1] = 1.0;
        GuidedScores { choices: vec![9, 1], distributions: vec![first, second], mass, forced: true }
    }

    fn read(settings: &Settings, guided: Option<GuidedScores>) -> Sample {
        let group = example_group(1);
        let reader = Reader::new(&group.messages, group.order().len(), settings);
        reader.sample(group.samples[0].clone(), drawn(), guided)
    }

    #[test]
    fn sampled_scores_are_the_choices_drawn_and_keep_their_distribution() {
        let settings = Settings { readout: Readout::Sampled, ..Settings::default() };
        let sample = read(&settings, Some(guided(0.5)));
        let scores = sample.scores().unwrap();
        assert_eq!(scores.scores, [10.0, 2.0]);
        assert_eq!(scores.score_distribution.as_ref().unwrap()[0].len(), 10);
        assert!(scores.forced && scores.readout_mass == Some(0.5));
        assert_eq!(sample.principles, "truth");
        assert_eq!(sample.critique, "the first is right.");
        assert!(sample.issues.is_empty());
    }

    #[test]
    fn expected_scores_are_means_of_their_distributions() {
        let settings = Settings { readout: Readout::Expected, ..Settings::default() };
        let sample = read(&settings, Some(guided(0.5)));
        assert_eq!(sample.scores().unwrap().scores, [9.75, 2.0]);
    }

    #[test]
    fn too_little_mass_fails_the_sample_and_so_does_no_number() {
        for mass in [0.009, 0.0, f64::NAN] {
            let sample = read(&Settings::default(), Some(guided(mass)));
            assert_eq!(sample.failure().unwrap().kind, FailureKind::LowReadoutMass);
            assert_eq!(sample.critique, "the first is right.");
        }
        assert!(read(&Settings::default(), Some(guided(0.01))).scores().is_some());
    }

    #[test]
    fn a_free_samples_scores_come_from_its_text() {
        let settings = Settings { readout: Readout::Free, ..Settings::default() };
        let sample = read(&settings, None);
        assert_eq!(sample.scores().unwrap().scores, [10.0, 2.0]);
        assert_eq!(sample.scores().unwrap().readout_mass, None);
    }

    #[test]
    fn scores_that_the_caller_wrote_are_not_the_models() {
        let settings = Settings { readout: Readout::Free, ..Settings::default() };
        let mut group = example_group(1);
        group.messages[0].spans[1].text = "Paris. Scores: \\boxed{10, 2}".into();
        let reader = Reader::new(&group.messages, 2, &settings);
        assert!(reader.sample(group.samples[0].clone(), drawn(), None).scores().is_none());
        assert!(!reader.watch().has_ended(&drawn().text));
    }

    #[test]
    fn text_never_stands_in_for_a_read_out_that_is_missing() {
        let sample = read(&Settings::default(), None);
        assert_eq!(sample.failure().unwrap().kind, FailureKind::Worker);
    }
}
