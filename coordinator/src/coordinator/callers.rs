//! Callers: who they are, what they may use, and what they may see.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jury_proto::{ErrorCode, JuryError, v1};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::{Coordinator, Inner, count};
use crate::admission::Size;
use crate::tenants::{self, Amount, Charge, Tenant};

/// Logs where calls without a known token come from, without letting the callers fill the log.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Quiet>);

#[derive(Debug, Default)]
struct Quiet {
    until: Option<Instant>,
    /// Calls since the last line that were not logged.
    n_left_out: u64,
}

/// Minimum time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

// === impl Strangers ===

impl Strangers {
    fn log(&self, peer: Option<SocketAddr>, problem: &str) {
        let Some(left_out) = self.turn(Instant::now()) else { return };
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        warn!(peer, left_out, problem, "call without a known token");
    }

    /// If a line may be logged now: how many calls were left out since the last one.
    fn turn(&self, now: Instant) -> Option<u64> {
        let mut quiet = self.0.lock();
        if quiet.until.is_some_and(|until| now < until) {
            quiet.n_left_out += 1;
            return None;
        }
        quiet.until = Some(now + BETWEEN_LINES);
        Some(std::mem::take(&mut quiet.n_left_out))
    }
}

// === impl Coordinator ===

impl Coordinator {
    /// The tenant of a call with this `Authorization` header; `peer` is the address that it comes from.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] if tokens are required and the header has no known one.
    pub fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        peer: Option<SocketAddr>,
    ) -> Result<Tenant, JuryError> {
        let told = self.inner.config.tenants.authenticate(authorization);
        told.inspect_err(|error| {
            self.inner.metrics.record_unauthenticated();
            self.inner.strangers.log(peer, &error.message);
        })
    }

    /// The same tenant as of now, for callers that were authenticated a while ago.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] if its token is no longer valid.
    pub fn renewed(&self, tenant: &Tenant) -> Result<Tenant, JuryError> {
        self.inner.config.tenants.renewed(tenant)
    }

    /// Whether callers must present a token.
    pub fn wants_tokens(&self) -> bool {
        self.inner.config.tenants.source().is_some()
    }

    /// The fleet and the load, and the tenants that `tenant` may see.
    pub fn status_for(&self, tenant: &Tenant) -> v1::GetStatusResponse {
        v1::GetStatusResponse { tenants: self.tenants_for(tenant), ..self.status() }
    }

    /// Charges a request to its tenant's quotas; the charge is refunded in full unless work on its samples begins.
    pub(crate) fn charge(&self, tenant: &Tenant, size: Size) -> Result<Charge, JuryError> {
        let amount = Amount { samples: size.samples.into(), tokens: size.tokens };
        tenant.charge(amount).map_err(|over_quota| {
            self.inner.metrics.record_over_quota(tenant.name(), over_quota.quota);
            let message = format!("tenant {:?}: {over_quota}", &**tenant.name());
            JuryError {
                retry_delay: Some(over_quota.retry_after),
                ..JuryError::new(ErrorCode::OverQuota, message)
            }
        })
    }

    /// Follows the file of tenants, if there is one.
    pub(super) fn follow_tenants(&self) {
        let (tenants, metrics) = (self.inner.config.tenants.clone(), self.inner.metrics.clone());
        metrics.show_tenants(&tenants.names());
        if tenants.source().is_some() {
            let weak = Arc::downgrade(&self.inner);
            tokio::spawn(tenants::follow(tenants, metrics, move || weak.strong_count() == 0));
        }
    }

    fn tenants_for(&self, tenant: &Tenant) -> Vec<v1::TenantStatus> {
        let Inner { admission, config, .. } = &*self.inner;
        let loads = admission.load_by_tenant();
        let all = config.tenants.names().into_iter();
        let seen = all.filter(|(name, _)| tenant.is_operator() || name == tenant.name());
        let line = |(name, weight): (Arc<str>, u32)| {
            let load = loads.get(&name).copied().unwrap_or_default();
            v1::TenantStatus {
                name: name.to_string(),
                weight,
                requests_running: count(load.running),
                requests_queued: count(load.waiting),
            }
        };
        seen.map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_a_line_at_once_and_then_no_more_than_one_per_second() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.turn(start), Some(0));
        assert_eq!(strangers.turn(start + BETWEEN_LINES / 2), None);
        assert_eq!(strangers.turn(start + BETWEEN_LINES / 2), None);
        assert_eq!(strangers.turn(start + BETWEEN_LINES), Some(2));
        assert_eq!(strangers.turn(start + BETWEEN_LINES * 9), Some(0));
    }
}
