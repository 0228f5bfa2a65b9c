//! What every attempt of a call shares: the message, made once, and the deadline.

use std::num::NonZeroU64;
use std::time::Duration;

use jury_grm::domain::ScoreRequest;
use jury_proto::v1;
use tokio::time::Instant;

use crate::{ClientConfig, ClientError};

/// A request made ready to be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Sent byte for byte the same with every attempt: the service compares payloads under a
    /// request id.
    pub message: v1::ScoreRequest,
    /// When the answer is no longer awaited.
    pub deadline: Instant,
    /// From the first attempt to the deadline.
    pub patience: Duration,
    /// Time that the service has.
    pub budget: Duration,
}

impl Prepared {
    /// Checks `request`, and fixes its id and budget.
    pub fn new(
        mut request: ScoreRequest,
        config: &ClientConfig,
        now: Instant,
    ) -> Result<Self, ClientError> {
        request.validate()?;
        if request.request_id.is_empty() {
            request.request_id = random_id();
        }
        let budget_ms = request.budget_ms.get_or_insert_with(|| {
            let default_ms = u64::try_from(config.default_budget.as_millis()).unwrap_or(u64::MAX);
            NonZeroU64::new(default_ms).unwrap_or(NonZeroU64::MIN)
        });
        let budget = Duration::from_millis(budget_ms.get());
        let patience = budget.saturating_add(config.grace);
        Ok(Self { message: request.into(), deadline: now + patience, patience, budget })
    }
}

/// 128 random bits in hex: no two calls share an id.
fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Item;

    use super::*;

    fn request() -> ScoreRequest {
        let json = r#"{"query": "q", "responses": ["a", "b"]}"#;
        ScoreRequest::new(Item::from_json(json).unwrap().0)
    }

    fn prepared(request: ScoreRequest) -> Result<Prepared, ClientError> {
        Prepared::new(request, &ClientConfig::default(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_budget_plus_grace() {
        let mut request = request();
        request.budget_ms = NonZeroU64::new(1500);
        let prepared = prepared(request).unwrap();
        assert_eq!(prepared.patience, Duration::from_millis(6500));
        assert_eq!(prepared.deadline, Instant::now() + prepared.patience);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_id_and_budget_gets_both() {
        let [one, other] = [request(), request()].map(|request| prepared(request).unwrap());
        assert_ne!(one.message.request_id, other.message.request_id);
        assert_eq!(one.message.request_id.len(), 32);
        assert_eq!(one.message.budget_ms, Some(60_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_callers_own_id_is_kept() {
        let mut request = request();
        request.request_id = "mine".to_owned();
        assert_eq!(prepared(request).unwrap().message.request_id, "mine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_malformed_request_never_leaves() {
        let mut request = request();
        request.settings.k = 0;
        let error = prepared(request).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("settings.k"));
        assert_eq!(error.attempts, 0);
    }
}
