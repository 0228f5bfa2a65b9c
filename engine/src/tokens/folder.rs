//! The tokenizer's files in a Hugging Face folder, parsed but not interpreted.
//!
//! tokenizer.json is required. tokenizer_config.json, generation_config.json and config.json are optional, and so are
//! their fields. chat_template.jinja takes precedence over the template in tokenizer_config.json.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::LoadError;

/// What the folder contains about tokens and conversations.
#[derive(Debug)]
pub(super) struct TokenizerFolder {
    /// Path of tokenizer.json, for errors.
    path: PathBuf,
    pub(super) tokenizer: TokenizerFile,
    pub(super) config: TokenizerConfig,
    /// End tokens of generation_config.json and config.json.
    pub(super) ends: Vec<u32>,
    /// The chat template's text.
    pub(super) template: Option<String>,
}

/// tokenizer.json
#[derive(Debug, Deserialize)]
pub(super) struct TokenizerFile {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(super) normalizer: Value,
    #[serde(default)]
    pub(super) pre_tokenizer: Value,
    #[serde(default)]
    pub(super) post_processor: Value,
    #[serde(default)]
    pub(super) decoder: Value,
    pub(super) model: Value,
}

/// A token that is searched for before text is split.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

/// The `model` of tokenizer.json when it is BPE.
#[derive(Debug, Deserialize)]
pub(super) struct BpeModel {
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<Merge>,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
}

/// Two tokens that merge into one; older files write them as one string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Pair(String, String),
    Line(String),
}

/// tokenizer_config.json
#[derive(Debug, Default, Deserialize)]
pub(super) struct TokenizerConfig {
    pub(super) bos_token: Option<NamedToken>,
    pub(super) eos_token: Option<NamedToken>,
    pub(super) add_bos_token: Option<bool>,
    chat_template: Option<Templates>,
}

/// A token by its text, with or without its details.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum NamedToken {
    Text(String),
    Details { content: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// generation_config.json, and the same field of config.json
#[derive(Debug, Default, Deserialize)]
struct Ends {
    eos_token_id: Option<OneOrMore>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

// === impl TokenizerFolder ===

impl TokenizerFolder {
    pub(super) fn read(folder: &Path) -> Result<TokenizerFolder, LoadError> {
        let path = folder.join("tokenizer.json");
        let tokenizer = read_json(&path)?.ok_or_else(|| LoadError::Unsupported {
            path: folder.to_owned(),
            why: "it has no tokenizer.json".to_owned(),
        })?;
        let mut config: TokenizerConfig =
            read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let mut ends = Vec::new();
        for name in ["generation_config.json", "config.json"] {
            let said: Ends = read_json(&folder.join(name))?.unwrap_or_default();
            match said.eos_token_id {
                Some(OneOrMore::One(end)) => ends.push(end),
                Some(OneOrMore::More(more)) => ends.extend(more),
                None => {}
            }
        }
        let template = match read(&folder.join("chat_template.jinja"))? {
            Some(template) => Some(template),
            None => config.chat_template.take().and_then(Templates::default_one),
        };
        Ok(TokenizerFolder { path, tokenizer, config, ends, template })
    }

    /// Whether the tokenizer adds the start token before a text.
    pub(super) fn adds_bos(&self) -> bool {
        self.config.add_bos_token.unwrap_or_else(|| {
            let bos = self.config.bos_token.as_ref().map(NamedToken::text);
            bos.is_some_and(|bos| puts_first(&self.tokenizer.post_processor, bos))
        })
    }

    /// An error that reports tokenizer.json as corrupt.
    pub(super) fn corrupt(&self, why: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: self.path.clone(), why: why.into() }
    }

    /// An error that reports tokenizer.json as unsupported.
    pub(super) fn unsupported(&self, why: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.path.clone(), why: why.into() }
    }
}

// === impl Merge ===

impl Merge {
    /// `None` if it is not two strings.
    pub(super) fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Pair(left, right) => Some((left, right)),
            Merge::Line(line) => line.split_once(' '),
        }
    }
}

// === impl NamedToken ===

impl NamedToken {
    pub(super) fn text(&self) -> &str {
        match self {
            NamedToken::Text(text) => text,
            NamedToken::Details { content } => content,
        }
    }
}

// === impl Templates ===

impl Templates {
    fn default_one(self) -> Option<String> {
        match self {
            Templates::One(template) => Some(template),
            Templates::Named(named) => {
                named.into_iter().find(|one| one.name == "default").map(|one| one.template)
            }
        }
    }
}

/// Whether a post-processor, or one of its parts, adds this token before a text.
fn puts_first(post_processor: &Value, token: &str) -> bool {
    let first = &post_processor["single"][0]["SpecialToken"]["id"];
    let parts = post_processor["processors"].as_array();
    first.as_str() == Some(token)
        || parts.is_some_and(|parts| parts.iter().any(|part| puts_first(part, token)))
}

/// A file's contents; `None` if the file does not exist.
fn read(path: &Path) -> Result<Option<String>, LoadError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoadError::Io { path: path.to_owned(), source }),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LoadError> {
    let corrupt = |error: serde_json::Error| LoadError::Corrupt {
        path: path.to_owned(),
        why: error.to_string(),
    };
    read(path)?.map(|text| serde_json::from_str(&text).map_err(corrupt)).transpose()
}
