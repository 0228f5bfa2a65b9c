//! Drafts a text's next tokens from earlier text: judges repeat names of principles, headings and quotes word for word.
//!
//! A draft is checked, not trusted. The engine computes drafted tokens as extra rows of a step that would otherwise
//! read all weights for a single row, draws from every row's logits as it would have without drafts, and accepts tokens
//! as long as the drawn one equals the drafted one. Rows do not depend on other rows of the batch, and draws are a
//! function of seed and position, so samples are exactly what they would have been. (Prompt lookup decoding, Saxena
//! 2023; speculative decoding, Leviathan et al. 2023, section 2.)

/// Number of trailing tokens that must have occurred before, in the same order; the more reliable match is tried first.
const MATCHES: [usize; 2] = [3, 2];

/// Initial maximum length of a draft, in tokens.
const FIRST_MOST: usize = 2;
/// Maximum length that a draft can grow to, in tokens.
const LAST_MOST: usize = 8;

/// A sample's draft, and how long the next one may be, which depends on how much of the last one was accepted.
#[derive(Debug)]
pub(crate) struct Drafts {
    /// Drafted tokens that are computed, or will be, and were not drawn yet.
    left: Vec<u32>,
    given: usize,
    most: usize,
}

// === impl Drafts ===

impl Drafts {
    /// Maximum length of the next draft.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Number of drafted tokens that are not drawn yet.
    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    /// Stores a new draft; there must be no tokens left of an earlier one.
    pub(crate) fn put(&mut self, tokens: &[u32]) {
        debug_assert!(self.left.is_empty(), "a draft is drawn or given up before the next");
        self.left.extend(tokens);
        self.given = tokens.len();
    }

    /// Whether the drawn token is the draft's next one.
    pub(crate) fn take(&mut self, token: u32) -> bool {
        if self.left.first() != Some(&token) {
            if !self.left.is_empty() {
                self.most = (self.given - self.left.len()).max(1);
            }
            return false;
        }
        self.left.remove(0);
        if self.left.is_empty() {
            self.most = (2 * self.given).clamp(self.most, LAST_MOST);
        }
        true
    }

    /// Discards the rest of the draft and returns how many tokens it had.
    pub(crate) fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.left).len()
    }
}

impl Default for Drafts {
    fn default() -> Self {
        Drafts { left: Vec::new(), given: 0, most: FIRST_MOST }
    }
}

/// What followed the latest earlier occurrence of the text's last tokens: at most `most` tokens, none if there was no
/// such occurrence.
pub(crate) fn draft(text: &[u32], most: usize) -> &[u32] {
    for length in MATCHES {
        if text.len() <= length {
            continue;
        }
        let (earlier, last) = (&text[..text.len() - 1], &text[text.len() - length..]);
        if let Some(at) = earlier.windows(length).rposition(|window| window == last) {
            let next = at + length;
            return &text[next..text.len().min(next + most)];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_latest_repetition_counts_and_longer_ones_before_shorter() {
        assert_eq!(draft(&[1, 2, 3, 4, 9, 1, 2, 3, 5, 9, 1, 2, 3], 2), [5, 9]);
        // The match of two tokens is later, but the match of three wins.
        assert_eq!(draft(&[1, 2, 3, 4, 9, 2, 3, 7, 9, 1, 2, 3], 3), [4, 9, 2]);
        assert_eq!(draft(&[2, 3, 7, 9, 1, 2, 3], 9), [7, 9, 1, 2, 3]);
        assert_eq!(draft(&[5, 5, 5, 5], 9), [5]);
        assert_eq!(draft(&[1, 2, 3, 4], 9), [0u32; 0]);
        assert_eq!(draft(&[1, 2, 3, 1, 2], 0), [0u32; 0]);
        assert_eq!(draft(&[], 3), [0u32; 0]);
    }

    #[test]
    fn drafts_are_trusted_as_far_as_the_last_was_right() {
        let mut drafts = Drafts::default();
        drafts.put(&[7, 8]);
        assert!(drafts.take(7) && drafts.take(8));
        assert!(!drafts.take(9), "there is none left");
        assert_eq!((drafts.most(), drafts.left()), (4, 0));
        drafts.put(&[1, 2, 3, 4]);
        assert!(drafts.take(1) && drafts.take(2) && !drafts.take(9));
        assert_eq!((drafts.most(), drafts.give_up(), drafts.left()), (2, 2, 0));
        drafts.put(&[1, 2]);
        assert!(!drafts.take(2));
        assert_eq!((drafts.most(), drafts.give_up()), (1, 2));
        drafts.put(&[5]);
        assert!(drafts.take(5));
        assert_eq!(drafts.most(), 2);
    }

    proptest! {
        #[test]
        fn a_draft_stands_in_the_text_after_its_last_two_tokens(
            text in prop::collection::vec(0u32..4, 0..60), most in 0usize..8,
        ) {
            let found = draft(&text, most);
            prop_assert!(found.len() <= most);
            if !found.is_empty() {
                let with_before = [&text[text.len() - 2..], found].concat();
                prop_assert!(text.windows(with_before.len()).any(|part| part == with_before));
            }
        }
    }
}
