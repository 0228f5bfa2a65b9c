//! Guided read-out: when the critique has ended, and what the engine then writes itself.
//!
//! The engine appends [`opening`], reads a score a response from the legal [`Scale::choices`]
//! with [`SEPARATOR`] between, and closes with [`CLOSING`]. Scores come from the engine's own state,
//! never from matching text, so nothing that a response or a critique says can forge one.
//!
//! [`Scale::choices`]: crate::domain::Scale::choices

use crate::parse::heading::{Heading, last_line_heading};

/// Version of this module's decisions. Part of the method digest: change it with them.
pub const GUIDE_VERSION: u32 = 1;
/// Between two scores.
pub const SEPARATOR: &str = ", ";
/// After the last score.
pub const CLOSING: &str = "}";

const BOX: &str = "\\boxed{";

/// True as soon as the model begins its own score line: a complete `Scores` heading at the start
/// of the last line (with its colon, or with the line's end), or a box that begins a line. Looks
/// at the last two lines only.
pub fn critique_has_ended(text: &str) -> bool {
    matches!(last_line_heading(text), Heading::Complete) || ends_in_fresh_box(text)
}

/// What the engine appends to `text` so that it ends in `Scores: \boxed{`, wherever the free text
/// stopped: after a whole heading, inside one, or in the middle of a sentence.
pub fn opening(text: &str) -> String {
    if ends_in_fresh_box(text) {
        return String::new();
    }
    let gap = if text.ends_with([' ', '\n']) { "" } else { " " };
    match last_line_heading(text) {
        Heading::Complete => format!("{gap}{BOX}"),
        Heading::WordOnly => format!(":{}{BOX}", if gap.is_empty() { "" } else { " " }),
        Heading::None => {
            let newlines = match text {
                "" => "",
                _ if text.ends_with("\n\n") => "",
                _ if text.ends_with('\n') => "\n",
                _ => "\n\n",
            };
            format!("{newlines}Scores: {BOX}")
        }
    }
}

/// True when the last line is nothing but the beginning of a box.
fn ends_in_fresh_box(text: &str) -> bool {
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    last_line.trim_start_matches([' ', '*', '$', '\t']) == BOX
        || last_line.ends_with(BOX) && matches!(last_line_heading(last_line), Heading::Complete)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Finish, Scale};
    use crate::parse::parse_free;

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
            "fine\n\\boxed{",
            "fine\nScores: \\boxed{",
        ] {
            assert!(critique_has_ended(text), "{text:?}");
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
            "fine\nScore: 8",
            "fine\nScores are hard\n",
            "Scores:\nmore\n",
        ] {
            assert!(!critique_has_ended(text), "{text:?}");
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
            ("fine\n\\boxed{", "fine\n\\boxed{"),
            ("", "Scores: \\boxed{"),
        ] {
            assert_eq!(format!("{text}{}", opening(text)), whole);
        }
    }

    proptest! {
        #[test]
        fn what_the_guide_writes_the_parser_reads(
            text in "([a-zA-Z:*# \\n]|Scores|\\\\boxed\\{){0,30}",
        ) {
            let whole = format!("{text}{}7{SEPARATOR}3{CLOSING}", opening(&text));
            let parsed = parse_free(&whole, 2, Scale::POINTWISE, Finish::Box);
            prop_assert_eq!(parsed.scores().map(|s| s.scores.clone()), Some(vec![7.0, 3.0]), "{}", whole);
        }
    }
}
