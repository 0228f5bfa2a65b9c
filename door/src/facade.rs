//! The services that trainers call, over the same coordinator. Each file says how its calls become items, and what
//! a call is told whose response has no reward. docs/trainers.md has the tables.
//!
//! ```text
//! OpenRLHF, NeMo-Gym, slime, chat client ── a body of theirs ──> one item a response ──> one request ──> verdict
//!                                        ── ?k=4&unscored=1 ───> settings, and what stands for no reward
//! ```

pub(crate) mod chat;
pub(crate) mod nemo_gym;
pub(crate) mod openrlhf;
mod params;
mod places;
pub(crate) mod slime;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use jury_coordinator::progress::Teller;
use jury_grm::domain::{JsonError, Reason, ReasonCode, ScoreRequest, Verdict};
use serde_json::{Map, Value};

use self::params::{NO_SUCH_PARAMETER, Params};
use self::places::Places;
use crate::body;
use crate::error::Refused;
use crate::headers;
use crate::judging::{Caller, Door};

/// What a trainer calls.
struct Service {
    route: &'static str,
    /// How long the trainer waits, as its source has it; `None`: as long as it takes.
    trainer_waits: Option<Duration>,
}

/// A call whose parameters and body are still to be read.
pub(crate) struct Incoming {
    caller: Caller,
    query: Option<String>,
    headers: HeaderMap,
    body: Body,
}

/// One call of a trainer.
struct Call {
    service: Service,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
}

/// An item, and where its parts are in the body.
struct Asked {
    item: Value,
    places: Places,
}

/// The verdict of one response.
struct Judged {
    verdict: Arc<Verdict>,
    /// Its reward, or why there is none.
    outcome: Result<f64, Reason>,
}

// === impl Incoming ===

impl FromRequest<Door> for Incoming {
    type Rejection = Refused;

    async fn from_request(request: Request, door: &Door) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, door).await?;
        let query = parts.uri.query().map(str::to_owned);
        Ok(Self { caller, query, headers: parts.headers, body })
    }
}

impl Incoming {
    /// Reads the parameters and the JSON object that is the body, from which `asks` makes what is to be judged.
    /// A refusal is counted.
    async fn read<T>(
        self,
        service: Service,
        asks: impl FnOnce(&Call, Map<String, Value>) -> Result<T, Refused>,
    ) -> Result<(Call, T), Refused> {
        let from_text = |call: &Call, text: String| {
            body::bounded(&text)?;
            let body = body::object(&text)?;
            drop(text);
            asks(call, body)
        };
        self.read_text(service, from_text).await
    }

    /// The same, with the body as text, of which a tree is not bounded yet.
    async fn read_text<T>(
        self,
        service: Service,
        asks: impl FnOnce(&Call, String) -> Result<T, Refused>,
    ) -> Result<(Call, T), Refused> {
        let Self { caller, query, headers, body } = self;
        let counter = caller.clone();
        let read = async {
            let params = Params::read(query.as_deref())?;
            let text = body::long_text(&headers, body).await?;
            let call = Call { service, caller, headers, params };
            let asked = asks(&call, text)?;
            Ok((call, asked))
        };
        counter.counted(read.await)
    }
}

// === impl Call ===

impl Call {
    /// The request for an item. `extra` applies unless a parameter overrides it.
    fn request(&self, asked: Asked, extra: Map<String, Value>) -> Result<ScoreRequest, Refused> {
        let Asked { item, places } = asked;
        let read = ScoreRequest::from_value(&self.params.request(item, extra));
        let (mut request, unknown) = read.map_err(|error| match error {
            JsonError::Field { path, problem } => Refused::invalid(places.of(&path), &problem),
            error => error.into(),
        })?;
        // A key of a turn that nobody looks at is the trainer's; a parameter is the user's mistake.
        if let Some(name) = unknown.iter().find(|path| !path.starts_with("item.")) {
            let name = name.strip_prefix("settings.").unwrap_or(name);
            return Err(Refused::invalid(name, NO_SUCH_PARAMETER));
        }
        headers::apply(&self.headers, &mut request)?;
        if let (None, Some(waits)) = (request.budget_ms, self.service.trainer_waits) {
            let usual = self.caller.coordinator.default_budget();
            let budget = usual.min(waits.mul_f64(SHARE_OF_WAIT));
            request.budget_ms =
                u64::try_from(budget.as_millis()).ok().and_then(std::num::NonZeroU64::new);
        }
        Ok(request)
    }

    async fn judge(&self, request: ScoreRequest) -> Result<Judged, Refused> {
        let nobody = Teller::to_nobody();
        let verdict =
            self.caller.judge(self.service.route, &self.headers, request, &nobody).await?;
        let reward = verdict.rewards.first().copied().flatten();
        let reason = || verdict.reasons.first().cloned().flatten();
        let outcome = reward.ok_or_else(|| reason().unwrap_or_else(no_reason));
        Ok(Judged { outcome, verdict })
    }

    /// The reward, or the stand-in that the call names.
    fn reward<'j>(&self, judged: &'j Judged) -> Result<f64, &'j Reason> {
        judged.outcome.as_ref().copied().or_else(|reason| self.params.unscored.ok_or(reason))
    }
}

/// The part of a trainer's patience that a budget may take: the answer has a way back.
const SHARE_OF_WAIT: f64 = 0.9;

/// A verdict says why a reward is missing; one that does not is a fault of ours.
fn no_reason() -> Reason {
    Reason { code: ReasonCode::WorkerFailed, detail: "the verdict gives no reason".to_owned() }
}

/// Removes and returns a required field.
fn required(body: &mut Map<String, Value>, name: &str) -> Result<Value, Refused> {
    body.swap_remove(name).ok_or_else(|| Refused::invalid(name, "is missing"))
}

/// The text that a judge may compare with: a trainer's label, if it is a text or a number. A blank one is none, as in any item.
fn reference(label: Option<&Value>) -> Option<Value> {
    match label? {
        Value::String(text) => Some(Value::from(text.as_str())),
        Value::Number(number) => Some(Value::from(number.to_string())),
        _ => None,
    }
}

/// An item with one response.
fn item(query: Value, response: String, reference: Option<Value>) -> Value {
    let responses = Value::from(vec![response]);
    let fields = [("query", Some(query)), ("responses", Some(responses)), ("reference", reference)];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}
