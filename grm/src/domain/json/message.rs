//! Texts as chat clients write them: plain, as a list of parts, or as messages with tool calls.
//!
//! * Parts are joined with a line end; null and an empty list of parts are the empty text.
//! * Tool calls follow the text, one per line: `Tool call: weather({"city": "Oslo"})`.
//! * A response may be an assistant message, alone or as the only element of a list; null is the empty response.
//! * A refusal (`refusal`) is the text of a message that has no other text, or one part of a text. A message whose text
//!   is under an unknown key is rejected, since it would otherwise be judged as an empty one.
//! * Images, sounds and files are rejected: a judge that does not see them would judge without them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::object;
use crate::domain::{Query, Role, Turn};

/// What a turn looks like.
const TURN: &str = "a turn like {\"role\": \"user\", \"content\": \"..\"}";
/// Between two parts of one text, and between a text and a tool call.
const BETWEEN_PARTS: &str = "\n";

// === the fields of an item ===

impl<'de> Deserialize<'de> for Query {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOr::<QueryForm>(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Turn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message: Message = object(deserializer, TURN)?;
        let role = message.role.ok_or_else(|| D::Error::missing_field("role"))?;
        Ok(Self { role, content: message.whole_text()? })
    }
}

/// An id: a text, or a whole number, which is converted to text. Null is no id.
pub(in super::super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(TextOr::<IdForm>(PhantomData))
}

/// The responses, each a text or a message.
pub(in super::super) fn responses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let responses = Vec::<Written<ResponseForm>>::deserialize(deserializer)?;
    Ok(responses.into_iter().map(|response| response.0).collect())
}

// === messages ===

/// A message of a conversation, or one part of a text; both can appear in the same position.
#[derive(Debug, Deserialize)]
struct Message {
    role: Option<Role>,
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
    content: Option<Written<ContentForm>>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
    function_call: Option<Function>,
    #[serde(rename = "audio")]
    _audio: Option<Sound>,
}

/// Rejected wherever it appears.
#[derive(Debug)]
struct Sound;

#[derive(Debug, Deserialize)]
#[serde(expecting = "a call like {\"function\": {\"name\": \"..\", \"arguments\": \"..\"}}")]
struct ToolCall {
    function: Function,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "a function like {\"name\": \"..\", \"arguments\": \"..\"}")]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

// === impl Message ===

impl Message {
    /// Its text, followed by its tool calls.
    fn whole_text<E: Error>(self) -> Result<String, E> {
        if self.text.is_some() && self.content.is_none() {
            let problem = "has a text and no content; what a message says is its content";
            return Err(E::custom(problem));
        }
        let calls = self.tool_calls.into_iter().flatten().map(|call| call.function);
        let calls = calls.chain(self.function_call).map(|function| function.shown());
        let mut texts = [self.content.map(|content| content.0), self.refusal].into_iter().flatten();
        let text = texts.find(|text| !text.is_empty());
        Ok(text.into_iter().chain(calls).collect::<Vec<_>>().join(BETWEEN_PARTS))
    }

    /// The text of one part.
    fn part<E: Error>(self) -> Result<String, E> {
        let kind = self.kind.as_deref().unwrap_or("text");
        match (kind, self.text, self.refusal) {
            ("text" | "input_text" | "output_text", Some(text), _) | ("refusal", _, Some(text)) => {
                return Ok(text);
            }
            _ => {}
        }
        Err(E::custom(match kind {
            "text" | "input_text" | "output_text" => {
                "must be a part like {\"type\": \"text\", \"text\": \"..\"}, has no text".to_owned()
            }
            "image" | "image_url" | "input_image" => refusal("an image", kind),
            "audio" | "audio_url" | "input_audio" => refusal("a sound", kind),
            "video" | "video_url" | "input_video" => refusal("a video", kind),
            "file" | "input_file" => refusal("a file", kind),
            _ => refusal("no text", kind),
        }))
    }
}

fn refusal(what: &str, kind: &str) -> String {
    format!(
        "is {what} (type {kind:?}); Jury judges text alone, so leave it out or describe it in words"
    )
}

impl Function {
    /// The call as prompts show it.
    fn shown(self) -> String {
        let arguments = match self.arguments {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        format!("Tool call: {}({arguments})", self.name)
    }
}

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(refusal("a sound", "audio")))
    }
}

// === forms of a text ===

/// What may be given for a text.
trait Form {
    type Read;
    const EXPECTED: &'static str;

    fn text(text: String) -> Self::Read;

    fn null<E: Error>() -> Result<Self::Read, E> {
        Err(E::invalid_type(serde::de::Unexpected::Other("null"), &Self::EXPECTED))
    }

    fn number<E: Error>(number: serde::de::Unexpected<'_>, _text: String) -> Result<Self::Read, E> {
        Err(E::invalid_type(number, &Self::EXPECTED))
    }

    fn list<'de, A: SeqAccess<'de>>(_list: A) -> Result<Self::Read, A::Error> {
        Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &Self::EXPECTED))
    }

    fn object<'de, A: MapAccess<'de>>(_object: A) -> Result<Self::Read, A::Error> {
        Err(A::Error::invalid_type(serde::de::Unexpected::Map, &Self::EXPECTED))
    }
}

struct TextOr<F>(PhantomData<F>);

impl<'de, F: Form> Visitor<'de> for TextOr<F> {
    type Value = F::Read;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(F::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<F::Read, E> {
        Ok(F::text(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<F::Read, E> {
        F::null()
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<F::Read, E> {
        F::number(serde::de::Unexpected::Unsigned(number), number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<F::Read, E> {
        F::number(serde::de::Unexpected::Signed(number), number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<F::Read, A::Error> {
        F::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<F::Read, A::Error> {
        F::object(object)
    }
}

/// A text in one of its accepted forms.
#[derive(Debug)]
struct Written<F>(String, PhantomData<F>);

impl<'de, F: Form<Read = String>> Deserialize<'de> for Written<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(TextOr::<F>(PhantomData))?;
        Ok(Self(text, PhantomData))
    }
}

#[derive(Debug)]
struct QueryForm;

impl Form for QueryForm {
    type Read = Query;
    const EXPECTED: &'static str =
        "a text, or a list of turns like {\"role\": \"user\", \"content\": \"..\"}";

    fn text(text: String) -> Query {
        Query::Text(text)
    }

    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Query, A::Error> {
        let mut turns = Vec::new();
        while let Some(turn) = list.next_element()? {
            turns.push(turn);
        }
        Ok(Query::Turns(turns))
    }
}

#[derive(Debug)]
struct IdForm;

impl Form for IdForm {
    type Read = String;
    const EXPECTED: &'static str = "a text or a whole number below 2^64";

    fn text(text: String) -> String {
        text
    }

    fn null<E: Error>() -> Result<String, E> {
        Ok(String::new())
    }

    fn number<E: Error>(_: serde::de::Unexpected<'_>, text: String) -> Result<String, E> {
        Ok(text)
    }
}

#[derive(Debug)]
struct ContentForm;

impl Form for ContentForm {
    type Read = String;
    const EXPECTED: &'static str =
        "a text, or a list of parts like {\"type\": \"text\", \"text\": \"..\"}";

    fn text(text: String) -> String {
        text
    }

    fn null<E: Error>() -> Result<String, E> {
        Ok(String::new())
    }

    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<String, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element::<Written<PartForm>>()? {
            parts.push(part.0);
        }
        Ok(parts.join(BETWEEN_PARTS))
    }
}

#[derive(Debug)]
struct PartForm;

impl Form for PartForm {
    type Read = String;
    const EXPECTED: &'static str = "a text, or a part like {\"type\": \"text\", \"text\": \"..\"}";

    fn text(text: String) -> String {
        text
    }

    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<String, A::Error> {
        Message::deserialize(MapAccessDeserializer::new(object))?.part()
    }
}

#[derive(Debug)]
struct ResponseForm;

impl Form for ResponseForm {
    type Read = String;
    const EXPECTED: &'static str =
        "a text, or a message like {\"role\": \"assistant\", \"content\": \"..\"}";

    fn text(text: String) -> String {
        text
    }

    fn null<E: Error>() -> Result<String, E> {
        Ok(String::new())
    }

    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<String, A::Error> {
        let mut parts = Vec::new();
        let mut n_messages = 0;
        while let Some(element) = list.next_element::<ResponseElement>()? {
            n_messages += usize::from(element.is_message);
            parts.push(element.text);
        }
        if n_messages > 0 && parts.len() > 1 {
            return Err(A::Error::custom(format!(
                "holds {} messages, a response is one; earlier ones belong to query",
                parts.len()
            )));
        }
        Ok(parts.join(BETWEEN_PARTS))
    }

    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<String, A::Error> {
        response(Message::deserialize(MapAccessDeserializer::new(object))?).map(|found| found.text)
    }
}

/// A message or a part of a text.
struct ResponseElement {
    text: String,
    is_message: bool,
}

impl<'de> Deserialize<'de> for ResponseElement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        response(object(deserializer, ResponseForm::EXPECTED)?)
    }
}

fn response<E: Error>(message: Message) -> Result<ResponseElement, E> {
    match message.role {
        Some(Role::Assistant) => {
            Ok(ResponseElement { text: message.whole_text()?, is_message: true })
        }
        Some(role) => {
            Err(E::custom(format!("is a message of role {role:?}; a response is the assistant's")))
        }
        None if message.kind.is_none() => {
            Err(E::invalid_type(serde::de::Unexpected::Map, &ResponseForm::EXPECTED))
        }
        None => Ok(ResponseElement { text: message.part()?, is_message: false }),
    }
}
