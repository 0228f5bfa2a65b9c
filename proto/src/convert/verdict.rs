//! Verdicts.

use jury_grm::domain::{Counts, Provenance, Reason, RunReport, Usage, Verdict};

use super::{index_to_pb, indices_from_pb, indices_to_pb, required};
use crate::error::JuryError;
use crate::v1;

impl From<Verdict> for v1::Verdict {
    fn from(verdict: Verdict) -> Self {
        let rewards = verdict.rewards.into_iter().zip(verdict.reasons);
        Self {
            item_id: verdict.item_id,
            status: v1::VerdictStatus::from(verdict.status).into(),
            rewards: rewards
                .map(|(value, reason)| v1::Reward { value, reason: reason.map(Into::into) })
                .collect(),
            pick: verdict.pick.map(index_to_pb),
            tied: indices_to_pb(&verdict.tied),
            confidence: verdict.confidence,
            agreement: verdict.agreement,
            stopped_by: v1::StoppedBy::from(verdict.stopped_by).into(),
            voters: verdict.voters,
            weights: verdict.weights,
            meta_unavailable: verdict.meta_unavailable,
            counts: Some(verdict.counts.into()),
            usage: Some(verdict.usage.into()),
            provenance: Some(verdict.provenance.into()),
            includes_samples: verdict.samples.is_some(),
            samples: verdict.samples.into_iter().flatten().map(Into::into).collect(),
            run: Some(verdict.run.into()),
        }
    }
}

impl TryFrom<v1::Verdict> for Verdict {
    type Error = JuryError;

    fn try_from(verdict: v1::Verdict) -> Result<Self, JuryError> {
        let status = verdict.status().into();
        let stopped_by = verdict.stopped_by().into();
        let samples =
            verdict.samples.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, _>>()?;
        let (rewards, reasons) = verdict
            .rewards
            .into_iter()
            .map(|reward| (reward.value, reward.reason.map(Into::into)))
            .unzip();
        Ok(Self {
            item_id: verdict.item_id,
            status,
            rewards,
            reasons,
            pick: verdict.pick.map(|pick| pick as usize),
            tied: indices_from_pb(verdict.tied),
            confidence: verdict.confidence,
            agreement: verdict.agreement,
            stopped_by,
            voters: verdict.voters,
            weights: verdict.weights,
            meta_unavailable: verdict.meta_unavailable,
            counts: required("verdict.counts", verdict.counts)?.into(),
            usage: required("verdict.usage", verdict.usage)?.into(),
            provenance: required("verdict.provenance", verdict.provenance)?.try_into()?,
            samples: verdict.includes_samples.then_some(samples),
            run: required("verdict.run", verdict.run)?.into(),
        })
    }
}

impl From<Provenance> for v1::Provenance {
    fn from(provenance: Provenance) -> Self {
        Self {
            model: provenance.model,
            model_digest: provenance.model_digest,
            numerics: provenance.numerics,
            method_digest: provenance.method_digest,
            meta_digest: provenance.meta_digest,
            meta_numerics: provenance.meta_numerics,
            seed: provenance.seed,
            settings: Some(provenance.settings.into()),
            voting: Some(provenance.voting.into()),
            min_samples: provenance.min_samples,
            hinted: provenance.hinted,
            forced_panel: provenance.forced_panel,
            escaped_markers: provenance.escaped_markers,
            item_digest: provenance.item_digest,
            reproducible: v1::Reproducible::from(provenance.reproducible).into(),
            version: provenance.version,
        }
    }
}

impl TryFrom<v1::Provenance> for Provenance {
    type Error = JuryError;

    fn try_from(provenance: v1::Provenance) -> Result<Self, JuryError> {
        Ok(Self {
            reproducible: provenance.reproducible().into(),
            model: provenance.model,
            model_digest: provenance.model_digest,
            numerics: provenance.numerics,
            method_digest: provenance.method_digest,
            meta_digest: provenance.meta_digest,
            meta_numerics: provenance.meta_numerics,
            seed: provenance.seed,
            settings: required("verdict.provenance.settings", provenance.settings)?.into(),
            voting: provenance.voting.unwrap_or_default().into(),
            min_samples: provenance.min_samples,
            hinted: provenance.hinted,
            forced_panel: provenance.forced_panel,
            escaped_markers: provenance.escaped_markers,
            item_digest: provenance.item_digest,
            version: provenance.version,
        })
    }
}

impl From<Reason> for v1::Reason {
    fn from(reason: Reason) -> Self {
        Self { code: v1::ReasonCode::from(reason.code).into(), detail: reason.detail }
    }
}

impl From<v1::Reason> for Reason {
    fn from(reason: v1::Reason) -> Self {
        Self { code: reason.code().into(), detail: reason.detail }
    }
}

/// Generates both directions for a message that has the same field names as the domain type.
macro_rules! same_fields {
    ($domain:ident, $wire:ty, { $($field:ident),+ $(,)? }) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                let $domain { $($field),+ } = value;
                Self { $($field),+ }
            }
        }
        impl From<$wire> for $domain {
            fn from(value: $wire) -> Self {
                Self { $($field: value.$field),+ }
            }
        }
    };
}

same_fields!(Counts, v1::Counts, {
    asked, valid, voted, forced, parse_failed, too_long, timed_out, failed, not_needed, spare, neutralised,
});
same_fields!(Usage, v1::Usage, { prompt_tokens, generated_tokens });
same_fields!(RunReport, v1::RunReport, {
    request_id, queue_ms, total_ms, cached_tokens, wasted_tokens, reissued, hedged, workers,
});
