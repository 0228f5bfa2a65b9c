//! Asks workers what they serve. A worker that appears or broke a call is asked until it answers; a worker whose calls
//! carry no news is asked from time to time.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jury_fabric::directory::Registration;
use jury_fabric::transport::Channel;
use jury_proto::convert::WorkerInfo;
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::v1::{GetInfoRequest, Load};
use jury_proto::{ErrorCode, JuryError};
use tokio::time::Instant;
use tracing::warn;

use super::{Evidence, Fleet, WorkerRef};

/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a worker whose calls carry no news is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// First pause between probes of a worker that does not answer; doubles up to the longest.
const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between probes.
const LONGEST_PROBE_PAUSE: Duration = Duration::from_secs(5);

// === impl Fleet ===

impl Fleet {
    /// Opens a channel to a new registration and asks what it serves.
    pub(super) fn connect(&self, worker: WorkerRef, registration: &Registration) {
        match self.inner.connector.connect(&registration.address) {
            Ok(channel) => {
                self.channels().insert(worker.clone(), channel);
                self.probe_while_needed(worker);
            }
            Err(error) => {
                // The same registration cannot recover from this; a new one can.
                warn!(worker_id = %worker, %error, "worker cannot be connected to");
                self.roster().record(&worker, Evidence::Misfits(error.to_string()));
            }
        }
    }

    /// Probes a worker repeatedly, as long as its health requires it. One task per worker.
    pub(super) fn probe_while_needed(&self, worker: WorkerRef) {
        if !self.roster().begin_probing(&worker) {
            return;
        }
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut pauses = probe_pauses();
            loop {
                let Some(inner) = weak.upgrade() else { return };
                let fleet = Self { inner };
                fleet.check(&worker).await;
                if !fleet.roster().goes_on_probing(&worker) {
                    return;
                }
                drop(fleet);
                // Jitter, so that coordinators do not probe in step.
                let pause = pauses.next().unwrap_or(LONGEST_PROBE_PAUSE);
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            }
        });
    }

    /// Checks every worker that answers but whose calls carry no news, from now on.
    pub(super) fn check_unheard_workers(&self) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            loop {
                let pause = CHECK_INTERVAL.mul_f64(rand::random_range(0.8..1.2));
                tokio::time::sleep(pause).await;
                let Some(inner) = weak.upgrade() else { return };
                let fleet = Self { inner };
                let unheard = fleet.roster().unheard();
                join_all(unheard.iter().map(|worker| fleet.check(worker))).await;
            }
        });
    }

    /// Checks a worker once, without waiting for the answer.
    pub(super) fn check_soon(&self, worker: &WorkerRef) {
        // A reservation may be dropped after its runtime has ended.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (fleet, worker) = (self.clone(), worker.clone());
        runtime.spawn(async move { fleet.check(&worker).await });
    }

    /// Asks a worker what it serves, and records the answer.
    async fn check(&self, worker: &WorkerRef) {
        let Some(channel) = self.channel(worker) else { return };
        match probe(channel).await {
            Ok((info, load)) => {
                let now = Instant::now().into_std();
                let changed = self.roster().record_info(worker, info, load, now);
                self.follow_up(worker, changed);
            }
            Err(error) if error.code == ErrorCode::ShuttingDown => {
                self.record(worker, Evidence::Drains);
            }
            Err(error) if error.code == ErrorCode::Unauthenticated => {
                self.record(worker, Evidence::Misfits(turned_away(&error)));
            }
            Err(error) => self.record(worker, Evidence::ProbeFailed(error.to_string())),
        }
    }
}

async fn probe(channel: Channel) -> Result<(WorkerInfo, Load), JuryError> {
    let mut client = SamplingServiceClient::new(channel);
    let answer = tokio::time::timeout(PROBE_TIMEOUT, client.get_info(GetInfoRequest {}));
    match answer.await {
        Ok(Ok(response)) => {
            let info = response.into_inner();
            let load = info.load.unwrap_or_default();
            Ok((info.into(), load))
        }
        Ok(Err(status)) => Err(status.into()),
        Err(_) => {
            let message = format!("no answer within {PROBE_TIMEOUT:?}");
            Err(JuryError::new(ErrorCode::Unreachable, message))
        }
    }
}

/// Why a worker that rejects this coordinator's credentials gets no samples.
pub(super) fn turned_away(error: &JuryError) -> String {
    format!(
        "it does not let this coordinator in: {error}; a worker asks for no token, so a proxy before it does, or \
         another service has its address"
    )
}

/// The pauses between probes, without their jitter.
fn probe_pauses() -> impl Iterator<Item = Duration> {
    let doubled = |pause: &Duration| Some((*pause * 2).min(LONGEST_PROBE_PAUSE));
    std::iter::successors(Some(FIRST_PROBE_PAUSE), doubled)
}
