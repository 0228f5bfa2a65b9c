//! Information in a prompt's spans beyond their text.

use std::cmp::Reverse;

use jury_grm::prompt::Message;

/// The response with the most tokens, by the caller's index, and its number of tokens; ties go to the lowest index.
pub fn longest_response(
    messages: &[Message],
    count_tokens: impl Fn(&str) -> usize,
) -> Option<(usize, usize)> {
    messages
        .iter()
        .flat_map(|message| &message.spans)
        .filter_map(|span| Some((span.response?, count_tokens(&span.text))))
        .max_by_key(|&(response, tokens)| (tokens, Reverse(response)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted::example_group;

    #[test]
    fn the_longest_response_is_named_by_the_callers_index() {
        let messages = example_group(1).messages;
        assert_eq!(longest_response(&messages, str::len), Some((1, 20)));
        assert_eq!(longest_response(&messages, |_| 7), Some((0, 7)));
        assert_eq!(longest_response(&[], str::len), None);
    }
}
