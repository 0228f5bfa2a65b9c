//! Score requests.

use std::num::NonZeroU64;

use jury_grm::domain::ScoreRequest;

use super::required;
use crate::error::JuryError;
use crate::v1;

impl From<ScoreRequest> for v1::ScoreRequest {
    fn from(request: ScoreRequest) -> Self {
        Self {
            item: Some(request.item.into()),
            model: request.model.unwrap_or_default(),
            settings: Some(request.settings.into()),
            voting: Some(request.voting.into()),
            seed: request.seed,
            min_samples: request.min_samples,
            budget_ms: request.budget_ms.map(NonZeroU64::get),
            include_samples: request.include_samples,
            include_hidden_states: request.include_hidden_states,
            hinted: request.hinted,
            request_id: request.request_id,
        }
    }
}

impl TryFrom<v1::ScoreRequest> for ScoreRequest {
    type Error = JuryError;

    /// Reads and validates: the result is within every limit.
    fn try_from(request: v1::ScoreRequest) -> Result<Self, JuryError> {
        let budget_ms = request
            .budget_ms
            .map(|budget| {
                NonZeroU64::new(budget).ok_or_else(|| {
                    JuryError::invalid(
                        "budget_ms",
                        "must be at least 1; leave it out for the default",
                    )
                })
            })
            .transpose()?;
        let read = Self {
            item: required("item", request.item)?.try_into()?,
            model: Some(request.model).filter(|model| !model.is_empty()),
            settings: request.settings.unwrap_or_default().into(),
            voting: request.voting.unwrap_or_default().into(),
            seed: request.seed,
            min_samples: request.min_samples,
            budget_ms,
            include_samples: request.include_samples,
            include_hidden_states: request.include_hidden_states,
            hinted: request.hinted,
            request_id: request.request_id,
        };
        read.validate()?;
        Ok(read)
    }
}
