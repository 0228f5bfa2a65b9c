//! Finds out what an upstream can do by trying: its own claims are not enough, and most servers make none.
//!
//! ```text
//! /tokenize                      does it tokenise as we do?                  llama.cpp, if we have a tokenizer
//! /v1/(chat/)completions         one token: does it take token ids, and read as many as were sent?
//!    with logprobs               which log-probabilities does it report?
//!    with n = 2                  does one call draw several samples?
//!    with a grammar of one word  is its text constrained to it?
//! ```

use jury_engine::Tokenizer;
use serde_json::{Value, json};

use super::answer;
use super::ask::{Ask, Begun, Wanted};
use super::discover::{Found, Refusal};
use super::error::UpstreamError;
use super::flavour::Flavour;
use super::http::Http;
use super::prompt::Prompt;
use super::upstream::tries;

/// Text whose tokens distinguish vocabularies and tokenisation rules; nothing in it is special to us.
const SHIBBOLETH: &str = "Analysis: 2 of 10 répliques, <|im_end|> </s>\n\n  \\boxed{10, 7}";
/// Tokens used to test whether the upstream reports named tokens.
const SCORE_CHARACTERS: &str = "0123456789,}";
/// A word that no model would continue with.
const HELD_TO: &str = "verdict";

/// What an upstream can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Able {
    /// How many of the likeliest tokens it reports probabilities for, after a text that has begun; 0: none.
    pub(super) listed: u32,
    /// Whether it reports the probabilities of named tokens.
    pub(super) tells_named: bool,
    /// Whether it reports log-probabilities at all.
    pub(super) log_probabilities: bool,
    /// Whether one call can draw several samples.
    pub(super) many_per_call: bool,
    /// Whether it constrains a text to a grammar.
    pub(super) constrained_output: bool,
}

/// The tokens of a test text, if the upstream tokenises it in the same way.
///
/// # Errors
/// If the upstream tokenises differently, or does not answer.
pub(super) async fn common_tokens(
    found: &Found,
    http: &Http,
    tokenizer: &Tokenizer,
) -> Result<Vec<u32>, Refusal> {
    let tokens = tokenizer
        .encode_plain(SHIBBOLETH)
        .map_err(|error| UpstreamError::Malformed(error.to_string()))?;
    compare_tokens(found.flavour, http, &tokens).await?;
    Ok(tokens)
}

/// Tries everything.
///
/// # Errors
/// If something that the upstream must be able to do fails.
pub(super) async fn try_out(
    found: &Found,
    http: &Http,
    tokenizer: Option<&Tokenizer>,
) -> Result<Able, Refusal> {
    let prompt = match tokenizer {
        Some(tokenizer) => Prompt::Tokens(common_tokens(found, http, tokenizer).await?),
        None => Prompt::Turns { turns: vec![("user", "Say 8.".to_owned())], neutralised: 0 },
    };
    let trial = Trial { found, http, prompt: &prompt };
    let answered = trial.ask(Wanted::Count, &Value::Null).await?;
    if let (Some(sent), Some(read)) = (prompt.tokens(), answered.counted.prompt)
        && sent != read
    {
        return Err(UpstreamError::WrongPrompt { sent, read }.into());
    }
    let told = trial.listed().await?;
    let reads_out = tokenizer.is_some() || found.flavour.continues_its_turn();
    let listed = if reads_out { told } else { 0 };
    Ok(Able {
        listed,
        tells_named: trial.tells_named(listed, tokenizer).await,
        log_probabilities: told > 0,
        many_per_call: trial.draws_many().await,
        constrained_output: trial.holds_to_a_word().await,
    })
}

/// The prompt that everything is tried on.
struct Trial<'a> {
    found: &'a Found,
    http: &'a Http,
    prompt: &'a Prompt,
}

// === impl Trial ===

impl Trial<'_> {
    /// How many of the likeliest tokens it lists.
    async fn listed(&self) -> Result<u32, UpstreamError> {
        for listed in [self.found.flavour.max_listed(), 20, 5] {
            let wanted = Wanted::Probabilities { listed, of_tokens: None };
            match self.ask(wanted, &Value::Null).await {
                Ok(answer) => {
                    return Ok(listed.min(u32::try_from(answer.listed.len()).unwrap_or(u32::MAX)));
                }
                Err(error) if error.is_transient() => return Err(error),
                // More than it reports, or it reports none at all.
                Err(
                    UpstreamError::Status { status: 400..500, .. }
                    | UpstreamError::ErrorBody { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    async fn tells_named(&self, listed: u32, tokenizer: Option<&Tokenizer>) -> bool {
        let (Flavour::Vllm, Some(tokenizer)) = (self.found.flavour, tokenizer) else {
            return false;
        };
        let mut named = tokenizer.encode_plain(SCORE_CHARACTERS).unwrap_or_default();
        named.sort_unstable();
        named.dedup();
        let count = named.len();
        let wanted = Wanted::Probabilities { listed, of_tokens: Some(named) };
        let answer = self.ask(wanted, &Value::Null).await;
        answer.is_ok_and(|answer| count > 0 && answer.listed.len() >= count)
    }

    async fn draws_many(&self) -> bool {
        let answer = self.ask(Wanted::Count, &json!({"n": 2})).await;
        // The reader of answers only accepts samples that come one at a time.
        matches!(answer, Err(UpstreamError::WrongCount(2)))
    }

    async fn holds_to_a_word(&self) -> bool {
        let Some(mut fields) = self.found.flavour.held_to(HELD_TO) else { return false };
        fields["max_tokens"] = json!(2 * HELD_TO.len());
        let answer = self.ask(Wanted::Count, &fields).await;
        answer.is_ok_and(|answer| answer.text.trim() == HELD_TO)
    }

    /// Sends the request with additional fields, which replace fields of the same name. Retries while the server is
    /// busy: an ability that seemed missing at this moment would stay missing until the worker's next start.
    async fn ask(&self, wanted: Wanted, fields: &Value) -> Result<answer::Answer, UpstreamError> {
        let Found { flavour, model, .. } = self.found;
        let (flavour, prompt) = (*flavour, self.prompt);
        let ask = Ask {
            flavour,
            model,
            prompt,
            cache_salt: None,
            begun: Begun::default(),
            seed: 1,
            wanted,
        };
        let mut body = ask.body();
        for (name, value) in fields.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        tries(|| async { answer::read(&self.http.post(ask.path(), &body).await?) }).await
    }
}

// === private ===

/// If the upstream tokenises text for us, it must do so as we do.
async fn compare_tokens(flavour: Flavour, http: &Http, ours: &[u32]) -> Result<(), Refusal> {
    let request = match flavour {
        Flavour::LlamaCpp => {
            json!({"content": SHIBBOLETH, "add_special": false, "parse_special": false})
        }
        // No comparison: it cannot read special tokens as text, and the test text contains some.
        _ => return Ok(()),
    };
    let told: Value = serde_json::from_str(&http.post("/tokenize", &request).await?)
        .map_err(|error| UpstreamError::Malformed(error.to_string()))?;
    let theirs =
        told.get("tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_same =
        theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(theirs, ours)| theirs == ours);
    match is_same {
        true => Ok(()),
        false => Err(Refusal::OtherTokens { text: SHIBBOLETH, ours: ours.len() }),
    }
}
