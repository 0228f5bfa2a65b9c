//! A line that grows: whether it is a complete `Scores` heading or the beginning of a box by now. Each character is looked at
//! once, and answers are those of [`last_line_heading`] and of a look at the whole line.
//!
//! [`last_line_heading`]: super::last_line_heading

use super::{COLON, INNER_MARKUP, MARKUP, MAX_NUMBER_DIGITS, SCORES};
use crate::parse::{BOX_MARKUP, BOX_OPENING};

/// What a line without its end is so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrowingLine {
    is_blank: bool,
    heading: At,
    /// Bytes of a box's opening that follow nothing but markup; `None`: the line is something else.
    of_box: Option<usize>,
}

/// Where in a heading the line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before all of it.
    Start,
    /// After blanks.
    Indented,
    /// After blanks and one character of a bullet.
    Bullet,
    /// After markup in which no bullet of a nested list can begin.
    Markup,
    /// After digits of the number.
    Number(usize),
    /// After the number, and perhaps markup.
    Numbered,
    /// Inside a word of [`SCORES`], or at its end.
    Word(&'static str, usize),
    /// Between the word and its colon.
    Inner,
    /// After the colon: bytes of a box's opening.
    Box(usize),
    /// After a part of a box's opening, and markup.
    BoxMarkup,
    /// In white space at the line's end that is not markup.
    Trailing,
    /// In a line that is no heading.
    Nowhere,
}

// === impl GrowingLine ===

impl GrowingLine {
    /// A line of nothing.
    pub(crate) const EMPTY: Self = Self { is_blank: true, heading: At::Start, of_box: Some(0) };

    /// Takes in the next character, which ends no line.
    pub(crate) fn push(&mut self, c: char) {
        self.is_blank &= c.is_whitespace();
        self.heading = self.heading.after(c);
        self.of_box = match self.of_box {
            Some(0) if BOX_MARKUP.contains(&c) => Some(0),
            Some(n) if follows(BOX_OPENING, n, c) => Some(n + 1),
            _ => None,
        };
    }

    /// True while there is nothing but white space.
    pub(crate) fn is_blank(self) -> bool {
        self.is_blank
    }

    /// True for a box's whole opening and nothing else.
    pub(crate) fn is_box(self) -> bool {
        self.of_box == Some(BOX_OPENING.len())
    }

    /// True for a `Scores` heading with its colon, and nothing after it but the beginning of a box.
    pub(crate) fn is_heading(self) -> bool {
        matches!(self.heading, At::Box(_) | At::BoxMarkup | At::Trailing)
    }
}

// === impl At ===

impl At {
    fn after(self, c: char) -> Self {
        match self {
            Self::Start | Self::Indented if matches!(c, ' ' | '\t') => Self::Indented,
            Self::Indented if matches!(c, '-' | '*') => Self::Bullet,
            Self::Bullet if c == ' ' => Self::Nowhere,
            Self::Start | Self::Indented | Self::Bullet | Self::Markup => match c {
                c if MARKUP.contains(&c) => Self::Markup,
                c if c.is_ascii_digit() => Self::Number(1),
                c => Self::begun(c),
            },
            Self::Number(n) if c.is_ascii_digit() && n < MAX_NUMBER_DIGITS => Self::Number(n + 1),
            Self::Number(_) if matches!(c, '.' | ')') => Self::Numbered,
            Self::Numbered if MARKUP.contains(&c) => Self::Numbered,
            Self::Numbered => Self::begun(c),
            Self::Word(word, n) if n < word.len() => match follows(word, n, c.to_ascii_lowercase())
            {
                true => Self::Word(word, n + 1),
                false => Self::Nowhere,
            },
            Self::Word(..) | Self::Inner => match c {
                c if COLON.contains(&c) => Self::Box(0),
                c if INNER_MARKUP.contains(&c) => Self::Inner,
                _ => Self::Nowhere,
            },
            Self::Box(n) if follows(BOX_OPENING, n, c) => Self::Box(n + 1),
            Self::Box(0) if INNER_MARKUP.contains(&c) => Self::Box(0),
            Self::Box(_) | Self::BoxMarkup if INNER_MARKUP.contains(&c) => Self::BoxMarkup,
            Self::Box(_) | Self::BoxMarkup | Self::Trailing if c.is_whitespace() => Self::Trailing,
            _ => Self::Nowhere,
        }
    }

    fn begun(c: char) -> Self {
        let word = SCORES.into_iter().find(|word| follows(word, 0, c.to_ascii_lowercase()));
        word.map_or(Self::Nowhere, |word| Self::Word(word, 1))
    }
}

/// True when `c` is the byte at `n` of `text`, which is ASCII.
fn follows(text: &str, n: usize, c: char) -> bool {
    text.as_bytes().get(n).is_some_and(|&byte| char::from(byte) == c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse::heading::{Heading, last_line_heading};

    proptest! {
        #[test]
        fn a_line_that_grew_is_what_it_is_as_a_whole(
            line in r#"([#*_\-$ \t:：.)\r\u{a0}a7]|[sS]cores|Final |final|Scores:|\\boxed\{|\\b){0,9}"#,
        ) {
            let mut grown = GrowingLine::EMPTY;
            line.chars().for_each(|c| grown.push(c));
            let is_heading = matches!(last_line_heading(&line), Heading::Complete { .. });
            prop_assert_eq!(grown.is_heading(), is_heading, "{:?}", grown);
            prop_assert_eq!(grown.is_blank(), line.trim().is_empty());
            prop_assert_eq!(grown.is_box(), line.trim_start_matches(BOX_MARKUP) == BOX_OPENING);
        }
    }
}
