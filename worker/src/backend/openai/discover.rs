//! Finds out what an upstream is when the worker starts; its abilities are tried next (`ability`).
//!
//! ```text
//! /v1/models                             the model, its owner: the flavour
//! /props | /version | /get_server_info   version, context, slots, mode      by flavour
//! /server_info                           mode of vLLM                       if its operator has enabled that
//! ```

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::UpstreamError;
use super::flavour::Flavour;
use super::http::Http;

/// What an upstream reports about itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) flavour: Flavour,
    /// Its version; "unknown" if it reports none.
    pub(super) version: String,
    /// The model's name at the upstream.
    pub(super) model: String,
    pub(super) context_tokens: Option<u32>,
    /// Requests that it processes at once.
    pub(super) places: Option<u32>,
    /// Whether it reports that it runs in a mode in which a sample does not depend on its batch.
    pub(super) is_batch_invariant: bool,
    /// What it reports about the model that does not change when it restarts.
    facts: Value,
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not answer as required.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// It does not serve the requested model.
    #[error(
        "the upstream serves {}, not {asked:?}; name one of them with --model, or with --upstream-model beside a name of your own",
        list(served)
    )]
    NoSuchModel {
        /// The requested name.
        asked: String,
        /// The names that it reports.
        served: Vec<String>,
    },
    /// Its tokens differ from ours.
    #[error(
        "the tokenizer cuts {text:?} into {ours} tokens, the upstream into others; name the tokenizer of its own model with --tokenizer"
    )]
    OtherTokens {
        /// The text that was tokenised.
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

/// Finds `model` on the upstream. The server is of the kind `told` if that is given; otherwise the kind is detected.
pub(super) async fn find(
    http: &Http,
    model: &str,
    told: Option<Flavour>,
) -> Result<Found, Refusal> {
    let models = http.get_json("/v1/models").await?;
    let Some(entries) = models.get("data").and_then(Value::as_array) else {
        let problem = "its list of models has no data".to_owned();
        return Err(UpstreamError::Malformed(problem).into());
    };
    let Some(entry) = entries.iter().find(|entry| is_named(entry, model)) else {
        let served = entries.iter().map(|entry| text(entry, "id").to_owned()).collect();
        return Err(Refusal::NoSuchModel { asked: model.to_owned(), served });
    };
    let flavour = match (told, Flavour::of_owner(text(entry, "owned_by"))) {
        (Some(told), _) => told,
        (None, Flavour::Other) => unowned(http, entry).await,
        (None, flavour) => flavour,
    };
    let about = about(http, flavour).await?;
    let mode = mode(http, flavour).await?;
    Ok(read(flavour, entry, &about, &mode))
}

/// Detects the kind by its endpoints, for the case that a gateway changed the owner's name.
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

/// What it reports about itself, apart from its models; null if nothing.
async fn about(http: &Http, flavour: Flavour) -> Result<Value, UpstreamError> {
    let path = match flavour {
        Flavour::LlamaCpp => "/props",
        Flavour::Vllm | Flavour::TensorRtLlm => "/version",
        Flavour::SgLang => "/get_server_info",
        Flavour::Other => return Ok(Value::Null),
    };
    told_or_null(http.get_json(path).await)
}

/// What it reports about its mode at another endpoint; null if nothing. vLLM reports it only if it was started in
/// development mode.
async fn mode(http: &Http, flavour: Flavour) -> Result<Value, UpstreamError> {
    match flavour {
        Flavour::Vllm => told_or_null(http.get_json("/server_info?config_format=json").await),
        _ => Ok(Value::Null),
    }
}

/// A missing page means null: a gateway may forward only the API.
fn told_or_null(told: Result<Value, UpstreamError>) -> Result<Value, UpstreamError> {
    match told {
        // Busy for a moment. If this were ignored, its version would be unknown, and its class a different one, until
        // the worker's next start.
        Err(error) if error.is_transient() => Err(error),
        Err(UpstreamError::Status { status: 400..500, .. } | UpstreamError::NotJson { .. }) => {
            Ok(Value::Null)
        }
        told => told,
    }
}

/// Matches its id, an alias, or the name of its file or folder.
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

fn read(flavour: Flavour, entry: &Value, about: &Value, mode: &Value) -> Found {
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
    let is_batch_invariant = match flavour {
        Flavour::SgLang => is_set(about.get("enable_deterministic_inference")),
        Flavour::Vllm => is_set(mode.pointer("/vllm_env/VLLM_BATCH_INVARIANT")),
        Flavour::LlamaCpp | Flavour::TensorRtLlm | Flavour::Other => false,
    };
    Found { flavour, version, model, context_tokens, places, is_batch_invariant, facts }
}

/// Accepts JSON's spelling and that of environment variables.
fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| *value == true || *value == 1 || *value == "1")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

// === impl Found ===

impl Found {
    /// A digest of what it reports about its model. Equal models on equal servers have equal digests, wherever their
    /// files are; two models about which the same is reported are not distinguished.
    pub(super) fn digest(&self) -> String {
        let told = json!(["jury upstream model 1", self.flavour.name(), self.facts]);
        format!("{:x}", Sha256::digest(told.to_string()))
    }

    /// Class of arithmetic of what it draws from prompts of this form.
    pub(super) fn numerics(&self, prompts: &str) -> String {
        let mode = if self.is_batch_invariant { ":invariant" } else { "" };
        format!("upstream:{}:{}{mode}:{prompts}", self.flavour.name(), self.version)
    }

    /// Everything that digest and class are made of: a server that comes back must report the same.
    pub(super) fn identity(&self) -> [String; 2] {
        [self.digest(), self.numerics("")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama(id: &str, n_ctx: u32) -> Found {
        let entry =
            json!({"id": id, "owned_by": "llamacpp", "meta": {"n_params": 7, "n_ctx": n_ctx}});
        let props = json!({"total_slots": 4, "build_info": "b1", "default_generation_settings": {"n_ctx": n_ctx}});
        read(Flavour::LlamaCpp, &entry, &props, &Value::Null)
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
        let vllm = read(Flavour::Vllm, &json!({"id": "m.gguf"}), &Value::Null, &Value::Null);
        assert_ne!(vllm.digest(), llama("m.gguf", 1).digest());
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        let found = read(Flavour::LlamaCpp, &json!({"id": "m"}), &Value::Null, &Value::Null);
        assert_eq!((found.context_tokens, found.places), (None, None));
        assert_eq!(found.version, "unknown");
        assert_eq!(llama("m", 2048).context_tokens, Some(2048));
        assert_eq!(llama("m", 2048).places, Some(4));
    }

    #[test]
    fn a_mode_is_what_the_server_tells_of_it_and_a_class_of_its_own() {
        let entry = json!({"id": "m"});
        let sglang = |mode: Value| {
            let about = json!({"version": "0.5", "enable_deterministic_inference": mode});
            read(Flavour::SgLang, &entry, &about, &Value::Null)
        };
        assert!(sglang(true.into()).is_batch_invariant);
        assert!(
            !sglang(false.into()).is_batch_invariant && !sglang(Value::Null).is_batch_invariant
        );
        let vllm = |mode: Value| read(Flavour::Vllm, &entry, &json!({"version": "0.32"}), &mode);
        let told = |set: Value| json!({"vllm_env": {"VLLM_BATCH_INVARIANT": set}});
        assert_eq!(
            vllm(told(true.into())).numerics("tokens"),
            "upstream:vllm:0.32:invariant:tokens"
        );
        for other in [told(false.into()), told("0".into()), Value::Null] {
            assert_eq!(vllm(other).numerics("tokens"), "upstream:vllm:0.32:tokens");
        }
        assert_ne!(vllm(told(true.into())).identity(), vllm(Value::Null).identity());
    }
}
