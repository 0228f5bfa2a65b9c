//! Receives the caller's messages after its group, which are cancels, whether or not the responses are being read.

use std::future::pending;

use jury_proto::{JuryError, v1};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use crate::backend::GroupHandle;

/// The listening side of a call. Dropping it cancels the group.
pub(super) struct Listener {
    broken: oneshot::Receiver<Status>,
    _task: AbortOnDropHandle<()>,
}

// === impl Listener ===

impl Listener {
    /// Listens on a separate task, which holds the group's handle. Must be called within a tokio runtime.
    pub(super) fn start(requests: Streaming<v1::SampleRequest>, handle: GroupHandle) -> Self {
        let (tell, broken) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Err(status) = listen(requests, &handle).await {
                // Nobody needs it once the call is over.
                drop(tell.send(status));
            }
            // Closing the request side, or a faulty message, cancels nothing by itself; the call's end does.
            pending::<()>().await;
        });
        Self { broken, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits until the call is broken, or the caller has sent an invalid message. Cancel-safe.
    pub(super) async fn broken(&mut self) -> Status {
        match (&mut self.broken).await {
            Ok(status) => status,
            // The caller has closed its side normally.
            Err(_) => pending().await,
        }
    }
}

async fn listen(
    mut requests: Streaming<v1::SampleRequest>,
    handle: &GroupHandle,
) -> Result<(), Status> {
    while let Some(request) = requests.message().await? {
        match request.message {
            Some(v1::sample_request::Message::Cancel(cancel)) => handle.cancel(&cancel.indices),
            Some(v1::sample_request::Message::Start(_)) => {
                let problem = "must be sent once, as the first message";
                return Err(JuryError::invalid("start", problem).into());
            }
            None => {} // a message of a later version
        }
    }
    Ok(())
}
