//! What an upstream is and can do, asked when the worker starts.
//!
//! ```text
//! /v1/models                         the model, its owner: the flavour
//! /props | /version | /get_server_info   version, context, places          by flavour
//! /tokenize                          are its tokens ours?                   where there is one and we have a tokenizer
//! /v1/completions, one token         does it take token ids? which log-probabilities does it tell?
//! ```

use jury_engine::Tokenizer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer;
use super::ask::{Ask, Begun, Wanted};
use super::error::UpstreamError;
use super::flavour::Flavour;
use super::http::Http;
use super::prompt::Prompt;

/// Text whose tokens tell vocabularies and ways of cutting apart; nothing in it is special to us.
const SHIBBOLETH: &str = "Analysis: 2 of 10 répliques, <|im_end|> </s>\n\n  \\boxed{10, 7}";

/// Tokens by which it is tried whether named ones are told.
const SCORE_CHARACTERS: &str = "0123456789,}";

/// What an upstream says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) flavour: Flavour,
    /// Its version; "unknown" where it tells none.
    pub(super) version: String,
    /// The model's name there.
    pub(super) model: String,
    pub(super) context_tokens: Option<u32>,
    /// Requests that it draws at once.
    pub(super) places: Option<u32>,
    /// What it tells of the model, and what stays when it is started anew.
    facts: Value,
}

/// What it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Able {
    /// Likeliest tokens whose probabilities it tells; 0: none.
    pub(super) listed: u32,
    /// Whether it tells the probabilities of named tokens.
    pub(super) tells_named: bool,
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not answer as it must.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It serves something else.
    #[error(
        "the upstream serves {}, not {asked:?}; name one of them with --model, or with --upstream-model beside a name of your own",
        list(served)
    )]
    NoSuchModel {
        /// The name that was asked for.
        asked: String,
        /// The names that it tells.
        served: Vec<String>,
    },
    /// Its tokens are others than ours.
    #[error(
        "the tokenizer cuts {text:?} into {ours} tokens, the upstream into others; name the tokenizer of its own model with --tokenizer"
    )]
    OtherTokens {
        /// What was cut.
        text: &'static str,
        /// Our tokens.
        ours: usize,
    },
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no model".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    }
}

/// Finds `model` there.
pub(super) async fn find(http: &Http, model: &str) -> Result<Found, Refusal> {
    let models = http.get_json("/v1/models").await?;
    let Some(entries) = models.get("data").and_then(Value::as_array) else {
        let problem = "its list of models has no data".to_owned();
        return Err(UpstreamError::Malformed(problem).into());
    };
    let Some(entry) = entries.iter().find(|entry| is_named(entry, model)) else {
        let served = entries.iter().map(|entry| text(entry, "id").to_owned()).collect();
        return Err(Refusal::NoSuchModel { asked: model.to_owned(), served });
    };
    let flavour = match Flavour::of_owner(text(entry, "owned_by")) {
        Flavour::Other => unowned(http, entry).await,
        flavour => flavour,
    };
    let about = about(http, flavour).await?;
    Ok(read(flavour, entry, &about))
}

/// By its endpoints, where the owner's name was changed on the way.
async fn unowned(http: &Http, entry: &Value) -> Flavour {
    if http
        .get_json("/props")
        .await
        .is_ok_and(|props| props.get("default_generation_settings").is_some())
    {
        return Flavour::LlamaCpp;
    }
    if http
        .get_json("/get_server_info")
        .await
        .is_ok_and(|info| info.get("max_total_num_tokens").is_some())
    {
        return Flavour::SgLang;
    }
    let has_version =
        http.get_json("/version").await.is_ok_and(|about| about.get("version").is_some());
    match has_version && entry.get("max_model_len").is_some() {
        true => Flavour::Vllm,
        false => Flavour::Other,
    }
}

/// What it tells about itself beside its models; null where it tells nothing.
async fn about(http: &Http, flavour: Flavour) -> Result<Value, UpstreamError> {
    let path = match flavour {
        Flavour::LlamaCpp => "/props",
        Flavour::Vllm | Flavour::TensorRtLlm => "/version",
        Flavour::SgLang => "/get_server_info",
        Flavour::Other => return Ok(Value::Null),
    };
    match http.get_json(path).await {
        // A gateway may pass on the API alone.
        Err(UpstreamError::Status { status: 404 | 405, .. } | UpstreamError::NotJson { .. }) => {
            Ok(Value::Null)
        }
        told => told,
    }
}

/// By its id, by an alias, or by the name of its file or folder.
fn is_named(entry: &Value, name: &str) -> bool {
    let id = text(entry, "id");
    let file = file_name(id);
    let aliases = entry.get("aliases").and_then(Value::as_array);
    let is_alias = aliases.is_some_and(|aliases| aliases.iter().any(|alias| alias == name));
    id == name || is_alias || file == name || file.strip_suffix(".gguf") == Some(name)
}

fn file_name(id: &str) -> &str {
    id.rsplit(['/', '\\']).next().unwrap_or(id)
}

fn read(flavour: Flavour, entry: &Value, about: &Value) -> Found {
    let number =
        |value: Option<&Value>| u32::try_from(value?.as_u64()?).ok().filter(|&number| number > 0);
    let model = text(entry, "id").to_owned();
    let meta = entry.get("meta");
    let (context_tokens, places, version, facts) = match flavour {
        Flavour::LlamaCpp => {
            let settings = about.get("default_generation_settings");
            let context = settings.and_then(|settings| settings.get("n_ctx"));
            let context = context.or_else(|| meta.and_then(|meta| meta.get("n_ctx")));
            let of_model = |field: &str| meta.and_then(|meta| meta.get(field)).cloned();
            let facts = json!({
                "file": file_name(&model), "n_params": of_model("n_params"), "size": of_model("size"),
                "n_vocab": of_model("n_vocab"), "ftype": of_model("ftype"),
                "chat_template": about.get("chat_template"),
            });
            (number(context), number(about.get("total_slots")), text(about, "build_info"), facts)
        }
        Flavour::SgLang => {
            let context = entry.get("max_model_len").or_else(|| about.get("context_length"));
            let facts =
                json!({"id": model, "root": entry.get("root"), "path": about.get("model_path")});
            (
                number(context),
                number(about.get("max_running_requests")),
                text(about, "version"),
                facts,
            )
        }
        Flavour::Vllm | Flavour::TensorRtLlm | Flavour::Other => {
            let facts = json!({"id": model, "root": entry.get("root")});
            (number(entry.get("max_model_len")), None, text(about, "version"), facts)
        }
    };
    let version = if version.is_empty() { "unknown" } else { version }.to_owned();
    Found { flavour, version, model, context_tokens, places, facts }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

// === impl Found ===

impl Found {
    /// A digest over what it tells of its model. Equal models of equal servers have equal digests, wherever their files lie;
    /// two models that tell the same of themselves are not told apart.
    pub(super) fn digest(&self) -> String {
        let told = json!(["jury upstream model 1", self.flavour.name(), self.facts]);
        format!("{:x}", Sha256::digest(told.to_string()))
    }

    /// What it can do, by trying.
    pub(super) async fn try_out(
        &self,
        http: &Http,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Able, Refusal> {
        let prompt = match tokenizer {
            Some(tokenizer) => {
                let tokens = tokenizer
                    .encode_plain(SHIBBOLETH)
                    .map_err(|error| UpstreamError::Malformed(error.to_string()))?;
                self.compare_tokens(http, &tokens).await?;
                Prompt::Tokens(tokens)
            }
            None => Prompt::Turns { turns: vec![("user", "Say 8.".to_owned())], neutralised: 0 },
        };
        let answered = self.ask(http, &prompt, Wanted::Count).await?;
        if let (Some(sent), Some(read)) = (prompt.tokens(), answered.counted.prompt)
            && sent != read
        {
            return Err(UpstreamError::WrongPrompt { sent, read }.into());
        }
        let mut able = Able { listed: 0, tells_named: false };
        if tokenizer.is_none() && !self.flavour.continues_its_turn() {
            return Ok(able);
        }
        for listed in [self.flavour.max_listed(), 20, 5] {
            let wanted = Wanted::Probabilities { listed, of_tokens: None };
            match self.ask(http, &prompt, wanted).await {
                Ok(answer) => {
                    able.listed =
                        listed.min(u32::try_from(answer.listed.len()).unwrap_or(u32::MAX));
                    break;
                }
                // More than it gives, or none at all.
                Err(
                    UpstreamError::Status { status: 400..500, .. }
                    | UpstreamError::ErrorBody { .. },
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let (Flavour::Vllm, Some(tokenizer)) = (self.flavour, tokenizer) {
            let mut named = tokenizer.encode_plain(SCORE_CHARACTERS).unwrap_or_default();
            named.sort_unstable();
            named.dedup();
            let count = named.len();
            let wanted = Wanted::Probabilities { listed: able.listed, of_tokens: Some(named) };
            let answer = self.ask(http, &prompt, wanted).await;
            able.tells_named = answer.is_ok_and(|answer| count > 0 && answer.listed.len() >= count);
        }
        Ok(able)
    }

    async fn ask(
        &self,
        http: &Http,
        prompt: &Prompt,
        wanted: Wanted,
    ) -> Result<answer::Answer, UpstreamError> {
        let (flavour, model) = (self.flavour, self.model.as_str());
        let ask = Ask { flavour, model, prompt, begun: Begun::default(), seed: 1, wanted };
        answer::read(&http.post(ask.path(), &ask.body()).await?)
    }

    /// Where it cuts text for us, it must cut as we do.
    async fn compare_tokens(&self, http: &Http, ours: &[u32]) -> Result<(), Refusal> {
        let request = match self.flavour {
            Flavour::LlamaCpp => {
                json!({"content": SHIBBOLETH, "add_special": false, "parse_special": false})
            }
            // It has no way to read specials as text, so what looks like one is left out.
            _ => return Ok(()),
        };
        let told: Value = serde_json::from_str(&http.post("/tokenize", &request).await?)
            .map_err(|error| UpstreamError::Malformed(error.to_string()))?;
        let theirs =
            told.get("tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let is_same = theirs.len() == ours.len()
            && theirs.iter().zip(ours).all(|(theirs, ours)| theirs == ours);
        match is_same {
            true => Ok(()),
            false => Err(Refusal::OtherTokens { text: SHIBBOLETH, ours: ours.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama(id: &str, n_ctx: u32) -> Found {
        let entry =
            json!({"id": id, "owned_by": "llamacpp", "meta": {"n_params": 7, "n_ctx": n_ctx}});
        let props = json!({"total_slots": 4, "build_info": "b1", "default_generation_settings": {"n_ctx": n_ctx}});
        read(Flavour::LlamaCpp, &entry, &props)
    }

    #[test]
    fn a_model_is_known_by_its_id_its_alias_and_its_file() {
        let entry = json!({"id": "/models/judge.gguf", "aliases": ["grm"]});
        for name in ["/models/judge.gguf", "grm", "judge.gguf", "judge"] {
            assert!(is_named(&entry, name), "{name}");
        }
        assert!(!is_named(&entry, "models") && !is_named(&json!({}), "judge"));
    }

    #[test]
    fn the_digest_is_of_the_model_and_not_of_the_way_in_which_it_is_served() {
        assert_eq!(llama("/a/m.gguf", 2048).digest(), llama("/b/m.gguf", 4096).digest());
        assert_ne!(llama("/a/m.gguf", 2048).digest(), llama("/a/other.gguf", 2048).digest());
        let vllm = read(Flavour::Vllm, &json!({"id": "m.gguf"}), &Value::Null);
        assert_ne!(vllm.digest(), llama("m.gguf", 1).digest());
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let found = read(Flavour::LlamaCpp, &json!({"id": "m"}), &Value::Null);
        assert_eq!((found.context_tokens, found.places), (None, None));
        assert_eq!(found.version, "unknown");
        assert_eq!(llama("m", 2048).context_tokens, Some(2048));
        assert_eq!(llama("m", 2048).places, Some(4));
    }
}
