//! One sample's text while the upstream writes it: pure.
//!
//! Thoughts are text between `<think>` and `</think>`, or what the upstream keeps apart; they have a budget of their own where
//! the operator gives them one, and count as critique otherwise.

use jury_grm::domain::Finish;
use jury_grm::parse::Begins;

use super::answer::{Answer, Counted, End};
use super::error::UpstreamError;
use crate::reading::{Reader, TextWatch};

/// How a thought begins.
const THOUGHT: &str = "<think";
/// How it ends.
const THOUGHT_END: &str = "</think>";

/// Most bytes of text for each token that a sample may have: above what the longest tokens of known vocabularies have, since
/// an upstream counts its own tokens, and an event may be megabytes.
const MAX_TOKEN_BYTES: usize = 512;

/// How many tokens a sample may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) critique: u32,
    /// Of thoughts; 0: none are expected, and they count as critique.
    pub(super) thoughts: u32,
}

/// A text so far.
#[derive(Debug)]
pub(super) struct Text {
    text: String,
    limits: Limits,
    watch: TextWatch,
    begins: Begins,
    counted: Counted,
    /// Events that carried text, each a token at least.
    pieces: u32,
    /// Tokens when the thoughts ended; `None` while they go on.
    thoughts: Option<u32>,
    has_reasoning: bool,
}

/// A text that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Without the thoughts that the upstream keeps apart.
    pub(super) text: String,
    pub(super) finish: Finish,
    /// As the upstream counts; without counts, events that carried text.
    pub(super) tokens: u32,
}

// === impl Limits ===

impl Limits {
    /// The most that the upstream is asked for.
    pub(super) fn all(self) -> u32 {
        self.critique.saturating_add(self.thoughts)
    }

    /// Most bytes of text.
    fn text_bytes(self) -> usize {
        usize::try_from(self.all()).unwrap_or(usize::MAX).saturating_mul(MAX_TOKEN_BYTES)
    }
}

// === impl Text ===

impl Text {
    /// A text for this reader.
    pub(super) fn new(limits: Limits, reader: &Reader) -> Self {
        Self {
            text: String::new(),
            limits,
            watch: reader.watch(),
            begins: reader.begins(),
            counted: Counted::default(),
            pieces: 0,
            thoughts: None,
            has_reasoning: false,
        }
    }

    /// Takes in what came; tells how the text ended, once it has.
    pub(super) fn record(&mut self, answer: &Answer) -> Option<Finish> {
        let told = self.text.len();
        self.text.push_str(&answer.text);
        self.has_reasoning |= !answer.reasoning.is_empty();
        self.pieces += u32::from(!answer.text.is_empty() || !answer.reasoning.is_empty());
        self.count(answer.counted);
        if !answer.text.is_empty()
            && let Some(end) = self.watch.end_after(told, &self.text)
        {
            self.text.truncate(end);
            return Some(Finish::Box);
        }
        let most = self.limits.text_bytes();
        if self.text.len() > most {
            let end = (0..=most).rev().find(|&at| self.text.is_char_boundary(at));
            self.text.truncate(end.unwrap_or(0));
            return Some(Finish::Limit);
        }
        match answer.end {
            Some(End::EndOfText) => Some(Finish::EndOfText),
            Some(End::Limit) => Some(Finish::Limit),
            None => self.is_over_a_limit().then_some(Finish::Limit),
        }
    }

    /// Tokens so far.
    pub(super) fn tokens(&self) -> u32 {
        self.counted.generated.unwrap_or(0).max(self.pieces)
    }

    /// What the upstream has counted.
    pub(super) fn counted(&self) -> Counted {
        self.counted
    }

    /// The text at its end.
    ///
    /// # Errors
    /// The stream said nothing at all, which is no sample.
    pub(super) fn end(self, finish: Finish) -> Result<Ended, UpstreamError> {
        if self.pieces == 0 && self.counted.generated.unwrap_or(0) == 0 {
            return Err(UpstreamError::Malformed("it holds no text".to_owned()));
        }
        let tokens = self.tokens();
        Ok(Ended { text: self.text, finish, tokens })
    }

    /// Takes in what comes after the end: counts alone.
    pub(super) fn count(&mut self, counted: Counted) {
        let Counted { prompt, cached, generated } = counted;
        self.counted.prompt = prompt.or(self.counted.prompt);
        self.counted.cached = cached.or(self.counted.cached);
        self.counted.generated = generated.max(self.counted.generated);
    }

    /// An upstream that ignores `max_tokens` is stopped here, and so is a thought beyond its budget.
    fn is_over_a_limit(&mut self) -> bool {
        let tokens = self.tokens();
        if tokens > self.limits.all() {
            return true;
        }
        if self.limits.thoughts == 0 {
            return false;
        }
        if self.is_thinking() {
            return tokens > self.limits.thoughts;
        }
        // Chat streams open with an empty piece, and a thought may follow it: only one that has ended is counted for good.
        if self.thoughts.is_none() && (self.has_reasoning || self.text.contains(THOUGHT_END)) {
            self.thoughts = Some(tokens.saturating_sub(1));
        }
        tokens.saturating_sub(self.thoughts.unwrap_or(0)) > self.limits.critique
    }

    fn is_thinking(&self) -> bool {
        if self.thoughts.is_some() {
            return false;
        }
        let thinks_apart = self.has_reasoning && self.text.trim().is_empty();
        let thinks_here =
            self.begins == Begins::InThought || self.text.trim_start().starts_with(THOUGHT);
        thinks_apart || (thinks_here && !self.text.contains(THOUGHT_END))
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{Readout, Settings};

    use super::*;
    use crate::backend::scripted::example_group;

    fn text(critique: u32, thoughts: u32) -> Text {
        let settings = Settings { readout: Readout::Free, ..Settings::default() };
        let reader = Reader::new(&example_group(1).messages, 2, &settings);
        Text::new(Limits { critique, thoughts }, &reader)
    }

    fn says(text: &str) -> Answer {
        Answer { text: text.to_owned(), ..Answer::default() }
    }

    fn thinks(reasoning: &str) -> Answer {
        Answer { reasoning: reasoning.to_owned(), ..Answer::default() }
    }

    /// How the pieces end, and after how many.
    fn read(mut text: Text, pieces: &[Answer]) -> Option<(usize, Finish)> {
        pieces.iter().zip(1..).find_map(|(piece, count)| Some((count, text.record(piece)?)))
    }

    #[test]
    fn a_text_ends_with_its_box_before_the_upstream_does() {
        let pieces = ["fine\nScores: ", "\\boxed{8", ", 7}", " and more"].map(says);
        assert_eq!(read(text(99, 0), &pieces), Some((3, Finish::Box)));
    }

    /// Else the guided read-out would follow scores that the model has written itself.
    #[test]
    fn a_critique_ends_inside_a_piece_of_several_tokens() {
        let reader = Reader::new(&example_group(1).messages, 2, &Settings::default());
        let mut text = Text::new(Limits { critique: 99, thoughts: 0 }, &reader);
        let finish = text.record(&says("fine\nScores: \\boxed{8, 7}\n"));
        assert_eq!(finish, Some(Finish::Box));
        assert_eq!(text.end(Finish::Box).unwrap().text, "fine\nScores:");
    }

    #[test]
    fn an_upstream_that_ignores_its_limit_is_stopped() {
        assert_eq!(read(text(3, 0), &vec![says("a"); 9]), Some((4, Finish::Limit)));
        let mut told = says("a b c d e");
        told.counted.generated = Some(5);
        assert_eq!(read(text(3, 0), &[told]), Some((1, Finish::Limit)));
    }

    #[test]
    fn an_upstream_whose_events_are_endless_is_stopped_by_their_bytes() {
        let mut text = text(3, 0);
        let finish = text.record(&says(&"é".repeat(4 << 20)));
        assert_eq!(finish, Some(Finish::Limit));
        assert_eq!(text.end(Finish::Limit).unwrap().text, "é".repeat(3 * MAX_TOKEN_BYTES / 2));
    }

    #[test]
    fn thoughts_have_a_budget_of_their_own() {
        let thought = [says("<think>"), says("a"), says("b"), says("c")];
        assert_eq!(read(text(9, 3), &thought), Some((4, Finish::Limit)));
        let apart = [thinks("a"), thinks("b"), thinks("c"), thinks("d")];
        assert_eq!(read(text(9, 3), &apart), Some((4, Finish::Limit)));
        let short = [says("<think>"), says("</think>"), says("a"), says("b"), says("c")];
        assert_eq!(read(text(3, 9), &short), Some((5, Finish::Limit)));
        let chat =
            [says(""), says("\n"), thinks("a"), thinks("b"), says("c"), says("d"), says("e")];
        assert_eq!(read(text(3, 9), &chat), None, "the critique has three tokens");
        let split = [says("<"), says("think>"), says("a"), says("</think>"), says("b"), says("c")];
        assert_eq!(read(text(3, 9), &split), None);
        let none = vec![says("a"); 9];
        assert_eq!(read(text(3, 5), &none), Some((4, Finish::Limit)));
    }

    #[test]
    fn a_thought_that_the_prompt_opened_is_one() {
        let settings = Settings { readout: Readout::Free, ..Settings::default() };
        let reader =
            Reader::new(&example_group(1).messages, 2, &settings).beginning(Begins::InThought);
        let opened = |thoughts| Text::new(Limits { critique: 9, thoughts }, &reader);
        let boxed = "Scores: \\boxed{8, 7}";
        let pieces = ["so\n", boxed, "\n</think>\n", boxed].map(says);
        assert_eq!(read(opened(9), &pieces), Some((4, Finish::Box)));
        assert_eq!(read(opened(1), &pieces), Some((2, Finish::Limit)));
    }

    #[test]
    fn a_box_in_a_thought_ends_nothing() {
        let boxed = "Scores: \\boxed{8, 7}";
        assert_eq!(read(text(9, 9), &[says("<think>"), says("\n"), says(boxed)]), None);
        assert_eq!(read(text(9, 9), &[thinks(boxed)]), None);
    }

    #[test]
    fn a_stream_without_text_is_no_sample() {
        assert!(text(9, 0).end(Finish::EndOfText).is_err());
    }
}
