//! What a judge reads and writes, as messages and as tokens.

use jury_engine::{Message, Prompt, Role, Span, Tokenizer, Trust};
use jury_grm::domain::{Item, Scale};
use jury_grm::prompt::{PromptInput, RenderedPrompt, Template, TemplateError, Variant};
use serde::{Deserialize, Serialize};

use crate::error::TuneError;
use crate::model::Sequence;

/// One conversation in the format of TRL, LLaMA-Factory and axolotl: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Oldest first; the last one is the assistant's, and is trained on.
    pub messages: Vec<Turn>,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// system, user or assistant.
    pub role: String,
    /// The text of the turn.
    pub content: String,
}

/// The prompt for a judge, without a hint.
///
/// # Errors
/// A template that fails on this item.
pub fn prompt(
    template: &Template,
    item: &Item,
    order: &[usize],
    scale: Scale,
) -> Result<RenderedPrompt, TemplateError> {
    template.render(&PromptInput { item, order, scale, variant: Variant::Plain })
}

/// A rendered prompt as the engine's type.
pub fn engine_prompt(rendered: &RenderedPrompt) -> Prompt {
    use jury_grm::domain::Role as Speaker;
    let span = |span: &jury_grm::prompt::Span| Span {
        text: span.text.as_ref().to_owned(),
        trust: match span.trust {
            jury_grm::prompt::Trust::Trusted => Trust::Trusted,
            jury_grm::prompt::Trust::Untrusted => Trust::Untrusted,
        },
    };
    let message = |message: &jury_grm::prompt::Message| Message {
        role: match message.role {
            Speaker::System | Speaker::Developer => Role::System,
            Speaker::User | Speaker::Tool => Role::User,
            Speaker::Assistant => Role::Assistant,
        },
        spans: message.spans.iter().map(span).collect(),
    };
    Prompt { messages: rendered.messages.iter().map(message).collect() }
}

/// A judge's prompt and its answer as messages.
pub fn conversation(rendered: &RenderedPrompt, answer: &str) -> Conversation {
    let text = |message: &jury_grm::prompt::Message| -> String {
        message.spans.iter().map(|span| &*span.text).collect()
    };
    let mut messages: Vec<Turn> = rendered
        .messages
        .iter()
        .map(|message| Turn { role: "user".to_owned(), content: text(message) })
        .collect();
    messages.push(Turn { role: "assistant".to_owned(), content: answer.to_owned() });
    Conversation { messages }
}

/// The tokens of a prompt and its answer, followed by what the model's template writes after an answer.
///
/// # Errors
/// [`TuneError::Setting`] for a template under which an answer does not continue its prompt.
pub fn sequence(
    tokenizer: &Tokenizer,
    prompt: &Prompt,
    answer: &str,
) -> Result<Sequence, TuneError> {
    let start = tokenizer.encode(prompt)?;
    let mut whole = prompt.clone();
    whole.messages.push(Message { role: Role::Assistant, spans: vec![Span::untrusted(answer)] });
    let tokens = tokenizer.encode_conversation(&whole)?;
    if tokens.len() <= start.len() || tokens[..start.len()] != start[..] {
        let why = "under it an answer does not continue its prompt, so that nothing says what is to be learned; take \
                   a model whose template writes answers as they were drawn";
        return Err(TuneError::setting("chat template", why));
    }
    Ok(Sequence { tokens, start: start.len() })
}

// === impl Conversation ===

impl Conversation {
    /// Reads a line.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(line: &str) -> Result<Conversation, String> {
        let conversation: Conversation =
            serde_json::from_str(line).map_err(|error| error.to_string())?;
        let is_known = |turn: &Turn| matches!(&*turn.role, "system" | "user" | "assistant");
        if let Some(turn) = conversation.messages.iter().find(|turn| !is_known(turn)) {
            return Err(format!("role {:?}; there are system, user and assistant", turn.role));
        }
        match conversation.messages.last() {
            Some(last) if last.role == "assistant" && conversation.messages.len() > 1 => {
                Ok(conversation)
            }
            _ => Err("it must end in the assistant's answer to something".to_owned()),
        }
    }

    /// The conversation's tokens; nothing in its text becomes a special token.
    ///
    /// # Errors
    /// As [`sequence`].
    pub fn sequence(&self, tokenizer: &Tokenizer) -> Result<Sequence, TuneError> {
        let message = |turn: &Turn| Message {
            role: match &*turn.role {
                "system" => Role::System,
                "assistant" => Role::Assistant,
                _ => Role::User,
            },
            spans: vec![Span::untrusted(turn.content.as_str())],
        };
        let (answer, before) = match self.messages.split_last() {
            Some((last, before)) => (last.content.as_str(), before),
            None => ("", &[][..]),
        };
        sequence(tokenizer, &Prompt { messages: before.iter().map(message).collect() }, answer)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jury_grm::domain::Query;

    use super::*;

    fn tokenizer(family: &str) -> Tokenizer {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures");
        Tokenizer::load(&fixtures.join(family)).unwrap()
    }

    fn rendered() -> RenderedPrompt {
        let responses = vec!["the hat".to_owned(), "<|im_end|>".to_owned()];
        let item = Item::bare(Query::Text("the inn".to_owned()), responses);
        prompt(&Template::builtin(), &item, &[1, 0], Scale::POINTWISE).unwrap()
    }

    #[test]
    fn a_sequence_is_the_prompt_and_then_the_answer_with_its_end() {
        for family in ["llama", "qwen2", "gemma2"] {
            let tokenizer = tokenizer(family);
            let prompt = engine_prompt(&rendered());
            let sequence = sequence(&tokenizer, &prompt, "Scores: \\boxed{8, 3}").unwrap();
            assert_eq!(sequence.tokens[..sequence.start], tokenizer.encode(&prompt).unwrap());
            let answer = tokenizer.encode_plain("Scores: \\boxed{8, 3}").unwrap();
            let end = sequence.start + answer.len();
            assert_eq!(sequence.tokens[sequence.start..end], answer);
            assert!(sequence.tokens.len() > end, "the end of the turn is learned, too");
        }
    }

    #[test]
    fn messages_hold_the_prompt_and_are_read_back() {
        let conversation = conversation(&rendered(), "Scores: \\boxed{8, 3}");
        let line = serde_json::to_string(&conversation).unwrap();
        assert!(line.starts_with(r#"{"messages":[{"role":"user","content":"You are a strict"#));
        assert_eq!(Conversation::read(&line).unwrap(), conversation);
    }

    #[test]
    fn lines_that_are_no_conversations_say_why() {
        for (line, why) in [
            ("{}", "messages"),
            (r#"{"messages": []}"#, "must end in"),
            (r#"{"messages": [{"role": "user", "content": "a"}]}"#, "must end in"),
            (r#"{"messages": [{"role": "bot", "content": "a"}]}"#, "role \"bot\""),
        ] {
            let error = Conversation::read(line).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
