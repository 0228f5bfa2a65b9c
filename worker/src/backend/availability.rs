//! Whether a backend accepts work.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether a backend accepts work. A backend that is not up fails every group at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Availability {
    /// It accepts work.
    #[default]
    Up,
    /// It is temporarily away, with the reason: its card is lost and the model is being reloaded, or its upstream is
    /// down. The worker leaves the fleet in the meantime.
    Away(Arc<str>),
    /// It is gone for good, with the reason. The worker ends.
    Dead(Arc<str>),
}

// === impl Availability ===

impl Availability {
    /// Whether it accepts work.
    pub fn is_up(&self) -> bool {
        *self == Self::Up
    }

    /// Whether it is gone for good.
    pub fn is_dead(&self) -> bool {
        matches!(self, Self::Dead(_))
    }
}

/// Waits until the backend is no longer up. Never returns if the backend ends without dying.
pub(crate) async fn not_up(availability: &mut watch::Receiver<Availability>) -> Availability {
    changed_to(availability, |now| !now.is_up()).await
}

/// Waits until a backend that is away is back or dead.
pub(crate) async fn not_away(availability: &mut watch::Receiver<Availability>) -> Availability {
    changed_to(availability, |now| !matches!(now, Availability::Away(_))).await
}

async fn changed_to(
    availability: &mut watch::Receiver<Availability>,
    wanted: impl FnMut(&Availability) -> bool,
) -> Availability {
    match availability.wait_for(wanted).await.map(|now| now.clone()) {
        Ok(now) => now,
        Err(_closed) => std::future::pending().await,
    }
}
