//! The last line of a text that grows. What was read is not read again, but for the beginning of a tag: `<thi` is the model's
//! own word, and `<think>` is not.

use super::{BEFORE_QUOTE, FENCE_LENGTH, Open, blank, may_become_a_tag};
use crate::parse::heading::GrowingLine;

/// A line that has not ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastLine {
    /// Bytes by which its kind was told.
    told: usize,
    kind: Kind,
    inline: Inline,
}

/// What the line's beginning makes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// Undecided: nothing but what may stand before a quotation or a fence.
    #[default]
    Bare,
    /// Undecided: that, and characters of a fence.
    Fence { character: char, length: usize },
    /// A fence of backticks, until one follows: then it is code inside the line.
    Backticks,
    /// Quoted or fenced, whatever follows.
    Blank,
    /// Neither, whatever follows.
    Inline,
}

/// The words of a line, as far as they are certain.
#[derive(Debug, Clone)]
struct Inline {
    open: Open,
    /// Bytes that were read.
    read: usize,
    /// What closes the quotation in which they end.
    closing: Option<&'static [char]>,
    has_carriage_return: bool,
    takes_back: bool,
    own: GrowingLine,
}

// === impl LastLine ===

impl LastLine {
    /// A line that begins where this is open.
    pub(super) fn under(open: Open) -> Self {
        let kind = match (open.fence, open.thoughts) {
            (Some(_), _) => Kind::Blank,
            (None, 0) => Kind::Bare,
            (None, _) => Kind::Inline,
        };
        Self { told: 0, kind, inline: Inline { open, ..Inline::default() } }
    }

    /// The model's own words in `line`, all of it so far, and whether all before them turned out to be a thought.
    pub(crate) fn read(&mut self, line: &str) -> (GrowingLine, bool) {
        for character in line.get(self.told..).unwrap_or_default().chars() {
            self.kind = self.kind.after(character);
        }
        self.told = line.len();
        if self.kind.is_blank() {
            return (GrowingLine::EMPTY, false);
        }
        self.inline.read(line, false);
        let mut so_far = self.inline.clone();
        so_far.read(line, true);
        (so_far.own, so_far.takes_back)
    }
}

// === impl Kind ===

impl Kind {
    fn after(self, next: char) -> Self {
        match self {
            Self::Bare if BEFORE_QUOTE.contains(&next) => self,
            Self::Bare => match next {
                '>' => Self::Blank,
                '`' | '~' => Self::Fence { character: next, length: 1 },
                _ => Self::Inline,
            },
            Self::Fence { character, length } if next == character => {
                Self::Fence { character, length: length + 1 }
            }
            Self::Fence { length, .. } if length < FENCE_LENGTH => Self::Inline,
            Self::Fence { character: '`', .. } => Self::Backticks,
            Self::Fence { .. } => Self::Blank,
            Self::Backticks if next == '`' => Self::Inline,
            Self::Backticks | Self::Blank | Self::Inline => self,
        }
    }

    fn is_blank(self) -> bool {
        match self {
            Self::Fence { length, .. } => length >= FENCE_LENGTH,
            Self::Backticks | Self::Blank => true,
            Self::Bare | Self::Inline => false,
        }
    }
}

// === impl Inline ===

impl Inline {
    /// Reads on in `line`, up to what may become a tag unless that is all there is.
    fn read(&mut self, line: &str, is_all: bool) {
        let mut rest = line.get(self.read..).unwrap_or_default();
        while is_all || self.closing.is_some() || !may_become_a_tag(rest) {
            let Some(step) = self.open.step(&mut self.closing, rest) else { break };
            let (read, unread) = rest.split_at(step.length);
            rest = unread;
            self.read += step.length;
            self.has_carriage_return |= read.contains('\r');
            if step.takes_back {
                self.takes_back = true;
                self.own = GrowingLine::EMPTY;
                self.own.push(if self.has_carriage_return { '\r' } else { ' ' });
            } else if step.is_own {
                read.chars().for_each(|character| self.own.push(character));
            } else {
                blank(read).chars().for_each(|character| self.own.push(character));
            }
        }
    }
}

impl Default for Inline {
    fn default() -> Self {
        Self {
            open: Open::default(),
            read: 0,
            closing: None,
            has_carriage_return: false,
            takes_back: false,
            own: GrowingLine::EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::own::LONGEST_TAG;

    /// A sample of 16,384 tokens without a line end was read again after each: minutes on the thread of the model.
    #[test]
    fn of_a_line_that_grows_no_more_than_a_tag_is_read_twice() {
        for piece in ["yes yes ", "<think>", "<th", "\"a\" ", "` ", "- ", "**", "</think>", " \r"] {
            let (line, mut last) = (piece.repeat(400), LastLine::default());
            for end in 1..=line.len() {
                last.read(&line[..end]);
                assert!(end - last.inline.read < LONGEST_TAG + "</".len(), "{piece:?} at {end}");
            }
        }
    }
}
