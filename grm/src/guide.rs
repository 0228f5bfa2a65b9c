//! Guided read-out: when the critique has ended, and what the engine then writes by itself.
//!
//! The engine appends [`opening`], reads one score per response from the legal [`Scale::choices`], separated by
//! [`SEPARATOR`], and finishes with [`CLOSING`]. Scores come from the engine's own state, never from matching text, so
//! nothing in a response or a critique can forge one.
//!
//! [`Scale::choices`]: crate::domain::Scale::choices

use crate::parse::heading::{Heading, last_line_heading};
use crate::parse::own::{LastLine, OwnLines, own_words};
use crate::parse::{BOX_MARKUP, BOX_OPENING, Begins};

/// Version of this module's decisions. Part of the method digest: change it with them.
pub const GUIDE_VERSION: u32 = 3;
/// Between two scores.
pub const SEPARATOR: &str = ", ";
/// After the last score.
pub const CLOSING: &str = "}";

/// Detects where a guided sample's critique ends: as soon as the model begins its own score line. That is a complete
/// `Scores` heading at the start of the last line (with its colon, or with the line's end), even if a box has begun
/// under it. A heading in a thought, a quotation or a fenced block does not end the critique. Neither does a box
/// without a heading: critiques quote answers to mathematics in boxes, and what the model writes into such a box is not
/// a score.
///
/// Reads each byte a bounded number of times, however the text arrives: it is called after every token, on the thread that
/// computes the model, and a critique may be one line. Blank lines do not hide a heading, since one token may hold a colon
/// and two line ends.
#[derive(Debug, Clone, Default)]
pub struct CritiqueWatch {
    begins: Begins,
    seen_bytes: usize,
    lines: OwnLines,
    last: LastLine,
    /// Whether the last line that has ended and holds words of the model's own is a heading.
    is_under_heading: bool,
}

// === impl CritiqueWatch ===

impl CritiqueWatch {
    /// Watches a text that begins as `begins` says.
    pub fn beginning(begins: Begins) -> Self {
        let lines = OwnLines::beginning(begins);
        let last = lines.begin_last();
        Self { begins, seen_bytes: 0, lines, last, is_under_heading: false }
    }

    /// True when the critique has ended. `text` is the whole text so far and grows from call to call; a shorter one
    /// restarts the watch.
    pub fn look(&mut self, text: &str) -> bool {
        if text.len() < self.seen_bytes {
            *self = Self::beginning(self.begins);
        }
        let fresh = text.as_bytes().get(self.seen_bytes..).unwrap_or_default();
        self.seen_bytes = text.len();
        if fresh.contains(&b'\n') {
            while let Some(line) = self.lines.next_ended(text) {
                self.is_under_heading &= !line.takes_back;
                if !line.own.trim().is_empty() {
                    self.is_under_heading = has_heading(&line.own);
                }
            }
            self.last = self.lines.begin_last();
        }
        let (last, takes_back) = self.last.read(self.lines.rest(text));
        if takes_back || !(last.is_box() || last.is_blank()) {
            return last.is_heading();
        }
        self.is_under_heading
    }
}

/// True when the last line of the model's own words is a `Scores` heading.
fn has_heading(own: &str) -> bool {
    matches!(last_line_heading(own), Heading::Complete { .. })
}

/// What the engine appends to `text` so that it ends in `Scores: \boxed{`, wherever the free text stopped: after a
/// whole heading, inside one, inside the box's command, in mid-sentence, or inside a thought or a fenced block, which
/// is closed first. `begins` says where `text` begins.
pub fn opening(text: &str, begins: Begins) -> String {
    let (own, open) = own_words(text, begins);
    if !open.is_nothing() {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        return format!("{newline}{}\nScores: {BOX_OPENING}", open.closing());
    }
    let is_own = own.trim_end().len() == text.trim_end().len();
    if let Some(begun) = box_under_heading(&own).filter(|_| is_own) {
        return BOX_OPENING[begun.len()..].to_owned();
    }
    let gap = if text.ends_with([' ', '\n']) { "" } else { " " };
    match if is_own { last_line_heading(&own) } else { Heading::None } {
        Heading::Complete { rest } if !rest.is_empty() && text.ends_with(rest) => {
            BOX_OPENING[rest.len()..].to_owned()
        }
        Heading::Complete { .. } => format!("{gap}{BOX_OPENING}"),
        Heading::WordOnly => format!(": {BOX_OPENING}"),
        Heading::None => {
            let newlines = match text {
                "" => "",
                _ if text.ends_with("\n\n") => "",
                _ if text.ends_with('\n') => "\n",
                _ => "\n\n",
            };
            format!("{newlines}Scores: {BOX_OPENING}")
        }
    }
}

/// The beginning of a box directly under a `Scores` heading, with nothing in between.
fn box_under_heading(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once('\n')?;
    fresh_box(text).filter(|_| has_heading(&format!("{before}\n")))
}

/// The beginning of a box, from `\b` to `\boxed{`, if the last line holds nothing else.
fn fresh_box(text: &str) -> Option<&str> {
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    let begun = last_line.trim_start_matches(BOX_MARKUP);
    (begun.len() > 1 && BOX_OPENING.starts_with(begun)).then_some(begun)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Finish, Scale};
    use crate::parse::{ScoreShape, parse_free};

    #[test]
    fn the_critique_ends_at_a_complete_heading() {
        for text in [
            "Analysis: fine\nScores:",
            "fine\n\n**Scores:",
            "fine\n### Scores:",
            "fine\n### Scores\n",
            "fine\n**Scores**\n",
            "Scores:",
            "fine\n  Final Scores:",
            "fine\n### Scores\n\n\\boxed{",
            "fine\nScores: \\boxed{",
            "fine\n3. Scores:",
            "fine\n### 3) **Scores:**",
            "fine\nScores：",
        ] {
            assert!(CritiqueWatch::default().look(text), "{text:?}");
        }
    }

    #[test]
    fn the_critique_goes_on_where_no_score_line_begins() {
        for text in [
            "",
            "fine\nScores",
            "fine\nScor",
            "the Scores:",
            "fine\nScoreboard:",
            "it says \\boxed{",
            "The answer is:\n\\[\n\\boxed{",
            "fine\n\\boxed{",
            "fine\nScore: 8",
            "fine\nScores are hard\n",
            "Scores:\nmore\n",
            "> Scores:",
            "- Response 1:\n  - Scores:",
            "<think>fine\nScores:",
            "<think>fine</think> the Scores:",
            "```\nScores:\n",
            "it says \"\nScores: \"",
        ] {
            assert!(!CritiqueWatch::default().look(text), "{text:?}");
        }
    }

    #[test]
    fn the_opening_continues_whatever_stands_there() {
        for (text, whole) in [
            ("fine", "fine\n\nScores: \\boxed{"),
            ("fine\n", "fine\n\nScores: \\boxed{"),
            ("fine\n\n", "fine\n\nScores: \\boxed{"),
            ("fine\nScores:", "fine\nScores: \\boxed{"),
            ("fine\nScores: ", "fine\nScores: \\boxed{"),
            ("fine\nScores", "fine\nScores: \\boxed{"),
            ("fine\n**Scores:**", "fine\n**Scores:** \\boxed{"),
            ("fine\n### Scores\n", "fine\n### Scores\n\\boxed{"),
            ("fine\nScores: \\boxed{", "fine\nScores: \\boxed{"),
            ("fine\n\\boxed{", "fine\n\\boxed{\n\nScores: \\boxed{"),
            ("### Scores\n\\bo", "### Scores\n\\boxed{"),
            ("", "Scores: \\boxed{"),
        ] {
            assert_eq!(format!("{text}{}", opening(text, Begins::Plainly)), whole);
        }
    }

    /// Qwen's vocabulary has a token of a colon and two line ends: the last line was then blank, and the model
    /// continued with scores of its own.
    #[test]
    fn blank_lines_after_a_heading_do_not_hide_it() {
        for text in ["fine\nScores:\n\n", "fine\n**Scores:**\n\n", "### Scores\n \n", "Scores:\r\n"]
        {
            assert!(CritiqueWatch::default().look(text), "{text:?}");
            assert_eq!(opening(text, Begins::Plainly), BOX_OPENING, "{text:?}");
        }
        assert!(!CritiqueWatch::default().look("fine\nScores: 8, 7\n\n"));
    }

    #[test]
    fn a_thought_and_a_fence_are_closed_before_the_score_line() {
        for (text, appended) in [
            ("<think>so", "\n</think>\n\nScores: \\boxed{"),
            ("<think>\nScores:\n", "</think>\n\nScores: \\boxed{"),
            ("fine\n~~~\nScores:", "\n~~~\n\nScores: \\boxed{"),
            ("fine\n> Scores:", "\n\nScores: \\boxed{"),
            ("Scores:\n> fine", "\n\nScores: \\boxed{"),
            ("it says \"Scores:", "\n\nScores: \\boxed{"),
            ("<think>so</think>\nScores:", " \\boxed{"),
        ] {
            assert_eq!(opening(text, Begins::Plainly), appended, "{text:?}");
        }
    }

    #[test]
    fn a_box_begun_is_finished() {
        for text in [
            "fine\nScores: \\",
            "fine\nScores: \\box",
            "fine\n**Scores:** $\\boxed",
            "**Scores**\n\\bo",
        ] {
            let whole = format!("{text}{}", opening(text, Begins::Plainly));
            assert!(whole.ends_with("\\boxed{"), "{whole:?}");
            assert_eq!(whole.matches('\\').count(), 1, "{whole:?}");
        }
    }

    /// What [`CritiqueWatch::look`] promises, by a look at the whole text.
    fn reads_again(text: &str, begins: Begins) -> bool {
        let (mut lines, mut last_words) = (OwnLines::beginning(begins), String::new());
        while let Some(line) = lines.next_ended(text) {
            if line.takes_back {
                last_words.clear();
            }
            if !line.own.trim().is_empty() {
                last_words = line.own;
            }
        }
        let last = lines.last(text);
        let is_box = fresh_box(&last.own) == Some(BOX_OPENING);
        if last.takes_back || !(is_box || last.own.trim().is_empty()) {
            return has_heading(&last.own);
        }
        has_heading(&last_words)
    }

    proptest! {
        #[test]
        fn in_pieces_of_any_size_the_critique_ends_where_reading_every_line_again_ends_it(
            text in r#"([a-z:*#\-$ \t\r]|Scores|Scores:|Final |\n|\\boxed\{|<think>|</think>|<|/|think|>|```|~~~|`|"|“|”){0,24}"#,
            begins in prop_oneof![Just(Begins::Plainly), Just(Begins::InThought)],
            size in 1usize..5,
        ) {
            let mut watch = CritiqueWatch::beginning(begins);
            let ends: Vec<usize> = text.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
            let cuts = ends.iter().copied().step_by(size).chain([text.len()]);
            for text in cuts.map(|end| &text[..end]) {
                prop_assert_eq!(watch.look(text), reads_again(text, begins), "{:?}", text);
            }
        }

        #[test]
        fn what_the_guide_writes_the_parser_reads(
            text in r#"([a-zA-Z:*#$ \n\\]|Scores|\n|\\boxed\{|\\boxed|\{|\}|<think>|</think>|```|~~~|>|`|"){0,30}"#,
        ) {
            let whole = format!("{text}{}7{SEPARATOR}3{CLOSING}", opening(&text, Begins::Plainly));
            let parsed = parse_free(&whole, &ScoreShape::new(2, Scale::POINTWISE), Finish::Box);
            prop_assert_eq!(parsed.scores().map(|s| s.scores.clone()), Some(vec![7.0, 3.0]), "{}", whole);
        }
    }
}
