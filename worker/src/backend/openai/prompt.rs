//! A group's prompt in the form that the upstream accepts: our own tokens, or a conversation as text.

use jury_engine::{PromptError, Tokenizer};
use jury_grm::domain::Role;
use jury_grm::prompt::{Message, Trust};

use super::neutral::neutralise;
use crate::backend::engine::engine_prompt;

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Tokens from our tokenizer: special tokens come only from trusted text.
    Tokens(Vec<u32>),
    /// Turns, to which the upstream applies its template. Special tokens in untrusted text are neutralised.
    Turns {
        /// Role and text of each turn.
        turns: Vec<(&'static str, String)>,
        /// Special tokens found in untrusted text.
        neutralised: usize,
    },
}

// === impl Prompt ===

impl Prompt {
    /// Tokens if there is a tokenizer; otherwise turns.
    pub(super) fn new(
        tokenizer: Option<&Tokenizer>,
        messages: &[Message],
    ) -> Result<Self, PromptError> {
        match tokenizer {
            Some(tokenizer) => tokenizer.encode(&engine_prompt(messages)).map(Self::Tokens),
            None => Ok(Self::turns(messages)),
        }
    }

    pub(super) fn turns(messages: &[Message]) -> Self {
        let mut neutralised = 0;
        let mut turn = |message: &Message| {
            let mut text = String::new();
            for span in &message.spans {
                match span.trust {
                    Trust::Trusted => text.push_str(&span.text),
                    Trust::Untrusted => {
                        let (neutral, found) = neutralise(&span.text);
                        text.push_str(&neutral);
                        neutralised += found;
                    }
                }
            }
            (role(message.role), text)
        };
        let turns = messages.iter().map(&mut turn).collect();
        Self::Turns { turns, neutralised }
    }

    /// Whether untrusted text in it was changed.
    pub(super) fn is_neutralised(&self) -> bool {
        matches!(self, Self::Turns { neutralised: 1.., .. })
    }

    /// The number of its tokens, if we know it.
    pub(super) fn tokens(&self) -> Option<u32> {
        match self {
            Self::Tokens(tokens) => Some(u32::try_from(tokens.len()).unwrap_or(u32::MAX)),
            Self::Turns { .. } => None,
        }
    }
}

/// The three roles that every server knows.
fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted::example_group;

    #[test]
    fn only_untrusted_text_is_neutralised() {
        let mut messages = example_group(1).messages;
        messages[0].spans[0].text = "trusted <|x|> ".into();
        messages[0].spans[1].text = "untrusted <|x|> ".into();
        let Ok(Prompt::Turns { turns, neutralised }) = Prompt::new(None, &messages) else {
            panic!()
        };
        assert!(turns[0].1.starts_with("trusted <|x|> untrusted <\\|x|> "), "{turns:?}");
        assert_eq!((turns[0].0, neutralised), ("user", 1));
    }
}
