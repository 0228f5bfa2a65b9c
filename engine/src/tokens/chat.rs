//! The model's chat template, rendered around placeholders.
//!
//! The template never sees the messages' contents: each is replaced by an opaque placeholder, and the rendered text is
//! cut at the placeholders afterwards. (A template that trims or inspects content therefore leaves it unchanged.)

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use super::vocabulary::Vocabulary;
use crate::error::PromptError;
use crate::prompt::Prompt;

/// Used if the model has no template.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// Surrounds a placeholder's number; private-use characters that no template writes.
const OPEN: char = '\u{f5a1}';
const CLOSE: char = '\u{f5a2}';
/// Bound on a template's work, so that a hostile file cannot hang the engine.
const FUEL: u64 = 2_000_000;

/// A chat template, ready to render.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// Who speaks after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The model: the start of its answer follows.
    ModelSpeaks,
    /// Nobody: the conversation is complete.
    Over,
}

/// A piece of the rendered conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text that the template wrote.
    Template(String),
    /// The content of the message with this index.
    Content(usize),
}

#[derive(Serialize)]
struct TemplateMessage {
    role: &'static str,
    content: String,
}

// === impl ChatTemplate ===

impl ChatTemplate {
    /// The model's own template, or ChatML if it has none; ChatML's markers are plain text unless the vocabulary has
    /// them as tokens.
    pub(crate) fn load(
        source: Option<&str>,
        vocabulary: &Vocabulary,
    ) -> Result<ChatTemplate, String> {
        let (bos, eos) = (vocabulary.bos_text().to_owned(), vocabulary.eos_text().to_owned());
        ChatTemplate::new(source.unwrap_or(CHATML), bos, eos)
            .map_err(|error| format!("chat template: {error:#}"))
    }

    fn new(source: &str, bos: String, eos: String) -> Result<ChatTemplate, Error> {
        let mut environment = Environment::new();
        // Hugging Face renders templates with this setting.
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        // The same prompt must give the same tokens on any day, so templates get a fixed date.
        environment.add_function("strftime_now", |_format: String| "2025-01-01".to_owned());
        environment.add_filter("tojson", |value: minijinja::Value, _: Kwargs| {
            serde_json::to_string(&value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
        });
        environment.add_template_owned("chat", source.to_owned())?;
        Ok(ChatTemplate { environment, bos, eos })
    }

    /// The conversation in order, followed by the start of the model's answer if the model speaks next.
    pub(crate) fn pieces(&self, prompt: &Prompt, turn: Turn) -> Result<Vec<Piece>, PromptError> {
        if prompt.messages.is_empty() {
            return Err(PromptError::Empty);
        }
        let messages: Vec<TemplateMessage> = (0..)
            .zip(&prompt.messages)
            .map(|(index, message)| TemplateMessage {
                role: message.role.as_str(),
                content: placeholder(index),
            })
            .collect();
        let rendered = self
            .environment
            .get_template("chat")
            .and_then(|template| {
                template.render(context! {
                    messages, bos_token => self.bos, eos_token => self.eos,
                    add_generation_prompt => turn == Turn::ModelSpeaks,
                })
            })
            .map_err(|error| PromptError::Template(format!("{error:#}")))?;
        let pieces = cut(&rendered);
        for index in 0..prompt.messages.len() {
            let times = pieces.iter().filter(|piece| **piece == Piece::Content(index)).count();
            if times != 1 {
                return Err(PromptError::MessageLost { index, times });
            }
        }
        Ok(pieces)
    }
}

fn placeholder(index: usize) -> String {
    format!("{OPEN}{index}{CLOSE}")
}

fn cut(rendered: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut parts = rendered.split(OPEN);
    pieces.extend(parts.next().map(|text| Piece::Template(text.to_owned())));
    for part in parts {
        let content =
            part.split_once(CLOSE).and_then(|(index, after)| Some((index.parse().ok()?, after)));
        match content {
            Some((index, after)) => {
                pieces.push(Piece::Content(index));
                pieces.push(Piece::Template(after.to_owned()));
            }
            None => pieces.push(Piece::Template(part.to_owned())),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::{Message, Role, Span};

    fn prompt(contents: &[&str]) -> Prompt {
        let message =
            |content: &&str| Message { role: Role::User, spans: vec![Span::untrusted(*content)] };
        Prompt { messages: contents.iter().map(message).collect() }
    }

    #[test]
    fn content_is_a_piece_of_its_own_whatever_it_says() {
        let template = ChatTemplate::new(CHATML, String::new(), String::new()).expect("ChatML");
        let pieces = template
            .pieces(&prompt(&["{{ 7 * 7 }}{% raw %}"]), Turn::ModelSpeaks)
            .expect("renders");
        assert_eq!(
            pieces,
            [
                Piece::Template("<|im_start|>user\n".to_owned()),
                Piece::Content(0),
                Piece::Template("<|im_end|>\n<|im_start|>assistant\n".to_owned()),
            ]
        );
    }

    #[test]
    fn a_template_that_drops_a_message_is_refused() {
        let source = "{{ messages[0]['content'] }}";
        let template = ChatTemplate::new(source, String::new(), String::new()).expect("parses");
        assert_eq!(
            template.pieces(&prompt(&["a", "b"]), Turn::ModelSpeaks),
            Err(PromptError::MessageLost { index: 1, times: 0 })
        );
    }

    #[test]
    fn a_template_may_refuse_a_conversation() {
        let source = "{{ raise_exception('no system role') }}";
        let template = ChatTemplate::new(source, String::new(), String::new()).expect("parses");
        let error = template.pieces(&prompt(&["a"]), Turn::ModelSpeaks).expect_err("refused");
        assert!(error.to_string().contains("no system role"), "{error}");
    }
}
