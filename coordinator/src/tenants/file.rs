//! The tenants file: TOML; every error has the path of its key, and no error shows a token.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;

use serde::Deserialize;
use toml::{Table, Value};

use super::quota::Quotas;
use super::token::{DIGEST_PREFIX, TokenDigest};

/// Most tenants in a file: each has its own metric series.
pub const MAX_TENANTS: usize = 1000;
/// Largest weight. Enough to distinguish tenants, and keeps turns short.
const MAX_WEIGHT: u32 = 1000;
/// Longest name.
const MAX_NAME_BYTES: usize = 64;

/// One tenant, as configured in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    /// Its name in metrics, status and logs.
    pub name: String,
    /// Digests of its tokens.
    pub token_digests: Vec<TokenDigest>,
    /// Its weight among waiting tenants.
    pub weight: u32,
    /// What it may use per minute.
    pub quotas: Quotas,
    /// Part of the queue that it may use, above 0, at most 1.
    pub queue_share: f64,
    /// Whether verdicts may be kept with its texts after they were answered.
    pub keep_texts: bool,
    /// Whether its status shows every tenant.
    pub operator: bool,
}

/// What is wrong with a tenants file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not TOML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// 1-based.
        line: usize,
        /// The parser's message.
        problem: String,
    },
    /// A key that is wrong.
    #[error("{path}: {problem}")]
    Key {
        /// Such as `tenant[1].weight`, counted from 0.
        path: String,
        /// What is wrong, with the limit and how to fix it.
        problem: String,
    },
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    token_digests: Vec<String>,
    #[serde(default = "one")]
    weight: u32,
    requests_per_minute: Option<NonZeroU64>,
    samples_per_minute: Option<NonZeroU64>,
    tokens_per_minute: Option<NonZeroU64>,
    queue_share: Option<f64>,
    #[serde(default = "yes")]
    keep_texts: bool,
    #[serde(default)]
    operator: bool,
}

const KEYS: [&str; 9] = [
    "name",
    "token_digests",
    "weight",
    "requests_per_minute",
    "samples_per_minute",
    "tokens_per_minute",
    "queue_share",
    "keep_texts",
    "operator",
];

/// Parses a tenants file, in its order.
///
/// # Errors
/// [`FileError`] for the first error.
pub fn parse(text: &str) -> Result<Vec<TenantConfig>, FileError> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
        FileError::Syntax { line, problem: error.message().to_owned() }
    })?;
    if let Some(key) = table.keys().find(|key| *key != "tenant") {
        return Err(wrong(key, unknown(key, &["tenant"])));
    }
    let entries = match table.get("tenant") {
        Some(Value::Array(entries)) if !entries.is_empty() => entries,
        Some(Value::Array(_)) | None => {
            return Err(wrong("tenant", "there is none; begin each with a line [[tenant]]"));
        }
        Some(_) => {
            return Err(wrong("tenant", "must be a list; write [[tenant]] with two brackets"));
        }
    };
    if entries.len() > MAX_TENANTS {
        let problem = format!("at most {MAX_TENANTS}, has {}", entries.len());
        return Err(wrong("tenant", problem));
    }
    let equal_share = 1.0 / entries.len() as f64;
    let read = |(place, entry)| tenant(place, entry, equal_share);
    let tenants: Vec<TenantConfig> =
        entries.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    check_unique(&tenants)?;
    Ok(tenants)
}

/// Settings that are allowed but probably not intended.
pub fn warnings(tenants: &[TenantConfig]) -> Vec<String> {
    let shares: f64 = tenants.iter().map(|tenant| tenant.queue_share).sum();
    // Equal shares may add up to slightly more than 1.
    let is_crowded = shares > 1.0 + 1e-9;
    let crowded = is_crowded.then(|| {
        format!(
            "queue_share of all tenants adds up to {shares:.2}: together they can fill the queue, and then \
             others are refused although their own part is not full"
        )
    });
    crowded.into_iter().collect()
}

// === private ===

fn tenant(place: usize, entry: &Value, equal_share: f64) -> Result<TenantConfig, FileError> {
    let path = |key: &str| match key {
        "" => format!("tenant[{place}]"),
        key => format!("tenant[{place}].{key}"),
    };
    let Value::Table(table) = entry else { return Err(wrong(path(""), "must be a table")) };
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(wrong(path(key), unknown(key, &KEYS)));
    }
    // Checked before serde, whose messages show the values that it rejects.
    let are_texts = |list: &Vec<Value>| list.iter().all(Value::is_str);
    let digests = table.get("token_digests").map(|value| value.as_array().is_some_and(are_texts));
    if digests == Some(false) {
        return Err(wrong(path("token_digests"), "must be a list of texts, like [\"sha256:..\"]"));
    }
    let entry: Entry = serde_path_to_error::deserialize(entry.clone()).map_err(|error| {
        let key = error.path().to_string();
        let key = if key == "." { String::new() } else { key };
        wrong(path(&key), error.inner().message().trim().to_owned())
    })?;
    check_name(&entry.name).map_err(|problem| wrong(path("name"), problem))?;
    if entry.token_digests.is_empty() {
        let problem = "is empty, so nobody could speak for this tenant; `jury tenants new-token` makes a token \
                       and its digest";
        return Err(wrong(path("token_digests"), problem));
    }
    let read_digest = |(n, text): (usize, &String)| {
        let wrong = |problem| wrong(path(&format!("token_digests[{n}]")), problem);
        let digest = TokenDigest::parse(text).ok_or_else(|| {
            wrong(format!(
                "must be {DIGEST_PREFIX} and 64 hex digits, the digest of a token and never the token itself; \
                 `jury tenants new-token` makes both"
            ))
        })?;
        if digest.is_guessable() {
            let problem = "is the digest of a word that anyone would guess; `jury tenants new-token` makes a token";
            return Err(wrong(problem.to_owned()));
        }
        Ok(digest)
    };
    let token_digests = entry.token_digests.iter().enumerate().map(read_digest);
    let token_digests = token_digests.collect::<Result<_, _>>()?;
    if !(1..=MAX_WEIGHT).contains(&entry.weight) {
        let problem = format!("must be between 1 and {MAX_WEIGHT}, is {}", entry.weight);
        return Err(wrong(path("weight"), problem));
    }
    let queue_share = entry.queue_share.unwrap_or(equal_share);
    if !(queue_share > 0.0 && queue_share <= 1.0) {
        let problem = format!("must be above 0 and at most 1, is {queue_share}");
        return Err(wrong(path("queue_share"), problem));
    }
    Ok(TenantConfig {
        name: entry.name,
        token_digests,
        weight: entry.weight,
        quotas: Quotas {
            requests: entry.requests_per_minute,
            samples: entry.samples_per_minute,
            tokens: entry.tokens_per_minute,
        },
        queue_share,
        keep_texts: entry.keep_texts,
        operator: entry.operator,
    })
}

fn check_name(name: &str) -> Result<(), String> {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let begins_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if begins_well && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "must be 1 to {MAX_NAME_BYTES} of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit; is {name:?}"
    ))
}

fn check_unique(tenants: &[TenantConfig]) -> Result<(), FileError> {
    let (mut names, mut digests) = (HashSet::new(), HashMap::new());
    for (place, tenant) in tenants.iter().enumerate() {
        if !names.insert(&tenant.name) {
            let problem = format!("{:?} is the name of an earlier tenant", tenant.name);
            return Err(wrong(format!("tenant[{place}].name"), problem));
        }
        for (n, digest) in tenant.token_digests.iter().enumerate() {
            if let Some(earlier) = digests.insert(digest, &tenant.name) {
                let problem = format!(
                    "is a token of tenant {earlier:?} already; a token speaks for one tenant"
                );
                return Err(wrong(format!("tenant[{place}].token_digests[{n}]"), problem));
            }
        }
    }
    Ok(())
}

fn wrong(path: impl Into<String>, problem: impl Into<String>) -> FileError {
    FileError::Key { path: path.into(), problem: problem.into() }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let nearest =
        known.iter().map(|known| (strsim::osa_distance(&key.to_lowercase(), known), known)).min();
    match nearest {
        Some((n_typos, known)) if n_typos <= 3 && n_typos < known.len() / 2 => {
            format!("no such key; did you mean {known:?}?")
        }
        _ => format!("no such key; there are {}", known.join(", ")),
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
