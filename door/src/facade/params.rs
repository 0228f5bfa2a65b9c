//! Settings in a URL: what a trainer's body has no place for.
//!
//! `k=4&scale.min=0&scale.max=1&voting.rule=mean&seed=7&budget_ms=120000`: settings by their names, parts of them with a dot,
//! and the request's own fields. `unscored=NUMBER` stands for rewards that are not there; `trim=TEXT` is taken off
//! the end of a response, as often as it is there.
//!
//! A URL can have 64 KiB, so the depth of a name and the texts to trim are limited here: their cost grows faster than the
//! URL.

use jury_grm::domain::limits;
use serde_json::{Map, Value};

use crate::error::Refused;

/// Fields of a request that are no settings.
const OF_REQUEST: [&str; 7] = [
    "model",
    "voting",
    "seed",
    "min_samples",
    "budget_ms",
    "include_samples",
    "include_hidden_states",
];

/// Maximum number of parts in a name; the deepest field, `voting.stop.confidence`, has three. Cloning, writing and dropping
/// nested objects recurses, and could overflow the stack.
const MAX_DEPTH: usize = 4;
/// Maximum number of texts to trim. Each is compared with the end of a response at every step.
const MAX_TRIMS: usize = 8;
const MAX_TRIM_BYTES: usize = 64;
/// How many characters of such a name an error repeats.
const MAX_NAME_SHOWN: usize = 64;
/// The problem with an unknown name.
pub(super) const NO_SUCH_PARAMETER: &str = "no such parameter; settings go by their names";

/// What a URL says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Params {
    /// Fields of the request, settings among them.
    fields: Map<String, Value>,
    /// Stands for a reward that is not there. `None`: the call fails instead.
    pub(super) unscored: Option<f64>,
    trim: Vec<String>,
}

// === impl Params ===

impl Params {
    pub(super) fn read(query: Option<&str>) -> Result<Self, Refused> {
        let mut read = Self::default();
        for (name, text) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "unscored" => read.unscored = Some(finite(&text)?),
                "trim" => read.add_trim(&text)?,
                "item" | "settings" | "request_id" => {
                    return Err(Refused::invalid(name, "cannot be a parameter"));
                }
                _ => read.insert(&name, &text)?,
            }
        }
        Ok(read)
    }

    /// A request for `item`; `extra` counts where no parameter does.
    pub(super) fn request(&self, item: Value, extra: Map<String, Value>) -> Value {
        let mut request = extra;
        merge(&mut request, &self.fields);
        request.insert("item".to_owned(), item);
        Value::Object(request)
    }

    /// A response without the texts that `trim` removes from its end. A response above the limit on texts is returned
    /// unchanged; it is rejected later.
    pub(super) fn trimmed<'a>(&self, response: &'a str) -> &'a str {
        if response.len() > limits::MAX_ITEM_BYTES {
            return response;
        }
        let mut rest = response;
        while let Some(shorter) = self.trim.iter().find_map(|end| rest.strip_suffix(end.as_str())) {
            rest = shorter;
        }
        rest
    }

    fn add_trim(&mut self, text: &str) -> Result<(), Refused> {
        if text.len() > MAX_TRIM_BYTES {
            let problem = format!("at most {MAX_TRIM_BYTES} bytes each, has {}", text.len());
            return Err(Refused::invalid("trim", &problem));
        }
        if self.trim.len() == MAX_TRIMS {
            return Err(Refused::invalid(
                "trim",
                &format!("may be given at most {MAX_TRIMS} times"),
            ));
        }
        self.trim.extend((!text.is_empty()).then(|| text.to_owned()));
        Ok(())
    }

    fn insert(&mut self, name: &str, text: &str) -> Result<(), Refused> {
        if let Some((end, _)) = name.match_indices('.').nth(MAX_DEPTH - 1) {
            let field: String = name[..end].chars().take(MAX_NAME_SHOWN).collect();
            return Err(Refused::invalid(format!("{field}.."), NO_SUCH_PARAMETER));
        }
        let first = name.split('.').next().unwrap_or_default();
        let path: Vec<&str> = match OF_REQUEST.contains(&first) {
            true => name.split('.').collect(),
            false => std::iter::once("settings").chain(name.split('.')).collect(),
        };
        let (last, parents) = path.split_last().expect("a split text has a part");
        let mut object = &mut self.fields;
        for parent in parents {
            let inner = object.entry(*parent).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else {
                return Err(Refused::invalid(
                    name,
                    "is a part of what another parameter gives whole",
                ));
            };
            object = inner;
        }
        match object.insert((*last).to_owned(), scalar(name, text)) {
            None => Ok(()),
            Some(_) => Err(Refused::invalid(name, "is given twice")),
        }
    }
}

/// A parameter's value: a number, true, false or null where it reads as one, else a text.
fn scalar(name: &str, text: &str) -> Value {
    let read = if name == "model" { None } else { serde_json::from_str(text).ok() };
    read.filter(|value: &Value| !value.is_array() && !value.is_object())
        .unwrap_or_else(|| Value::from(text))
}

fn finite(text: &str) -> Result<f64, Refused> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| Refused::invalid("unscored", "must be a number, like unscored=1"))
}

/// Puts `fields` over `request`, object by object.
fn merge(request: &mut Map<String, Value>, fields: &Map<String, Value>) {
    for (name, value) in fields {
        match (request.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(fields)) => merge(inner, fields),
            _ => drop(request.insert(name.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_go_by_their_names_and_the_requests_fields_by_theirs() {
        let query = "k=4&temperature=0.7&scale.min=0&scale.max=1&readout=free&seed=7&model=8&voting.rule=mean";
        let params = Params::read(Some(query)).unwrap();
        let expected = json!({
            "settings": {"k": 4, "temperature": 0.7, "scale": {"min": 0, "max": 1}, "readout": "free"},
            "seed": 7, "model": "8", "voting": {"rule": "mean"}, "item": null,
        });
        assert_eq!(params.request(Value::Null, Map::new()), expected);
    }

    #[test]
    fn a_parameter_counts_before_the_body() {
        let params = Params::read(Some("k=4")).unwrap();
        let body = json!({"settings": {"k": 8, "top_p": 0.5}, "seed": 3});
        let request = params.request(Value::Null, body.as_object().unwrap().clone());
        assert_eq!(request["settings"], json!({"k": 4, "top_p": 0.5}));
        assert_eq!(request["seed"], 3);
    }

    #[test]
    fn what_is_no_parameter_is_refused_by_name() {
        let field = |query: &str| Params::read(Some(query)).unwrap_err().field.unwrap();
        assert_eq!(field("k=4&k=5"), "k");
        assert_eq!(field("scale=1&scale.min=0"), "scale.min");
        assert_eq!(field("request_id=r"), "request_id");
        assert_eq!(field("unscored=nan"), "unscored");
        assert_eq!(field("unscored="), "unscored");
    }

    #[test]
    fn a_name_of_any_depth_is_refused_and_does_not_overflow_the_stack() {
        let refused = Params::read(Some(&"a.".repeat(30_000))).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("a.a.a.a.."));
        assert!(refused.message.len() < 256, "{}", refused.message.len());
        assert!(Params::read(Some("voting.stop.confidence=0.9")).is_ok());
    }

    #[test]
    fn trimming_is_bounded() {
        let of = |query: &str| Params::read(Some(query));
        assert_eq!(of(&"trim=a&".repeat(9)).unwrap_err().field.as_deref(), Some("trim"));
        assert!(of(&format!("trim={}", "a".repeat(65))).is_err());
        let long = "a".repeat(limits::MAX_ITEM_BYTES + 1);
        assert_eq!(of("trim=a").unwrap().trimmed(&long).len(), long.len(), "it is refused later");
    }

    #[test]
    fn every_end_that_is_to_go_goes() {
        let params = Params::read(Some("trim=%3C%7Cim_end%7C%3E&trim=%0A")).unwrap();
        assert_eq!(params.trimmed("4<|im_end|>\n"), "4");
        assert_eq!(params.trimmed("<|im_end|> 4"), "<|im_end|> 4");
    }
}
