//! A fleet given by the operator: `--worker http://host:port`, once for each worker.

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{Directory, Registration, Update};
use crate::connector::{self, AddressError};

/// Workers at fixed addresses. They are always listed, whether they run or not.
#[derive(Debug, Clone)]
pub struct Fixed {
    workers: Vec<Registration>,
}

// === impl Fixed ===

impl Fixed {
    /// The workers at `addresses`, each `http://host:port` or `host:port`. Duplicates count once.
    ///
    /// # Errors
    /// [`AddressError`] for the first malformed address.
    pub fn new<A: AsRef<str>>(addresses: &[A]) -> Result<Self, AddressError> {
        let mut workers: Vec<Registration> = Vec::new();
        for address in addresses {
            let uri = connector::parse(address.as_ref())?;
            // Normalises each address, so that one worker written in two ways counts once.
            let worker = Registration::at(uri.to_string().trim_end_matches('/'));
            if !workers.contains(&worker) {
                workers.push(worker);
            }
        }
        Ok(Self { workers })
    }
}

impl Directory for Fixed {
    fn kind(&self) -> &'static str {
        "fixed"
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn watch(&self) -> BoxStream<'static, Update> {
        let all = Update::Reset(self.workers.clone());
        stream::once(async { all }).chain(stream::pending()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_is_a_worker_once() {
        let fixed = Fixed::new(&["http://a:1", "a:1", "b:2"]).unwrap();
        let Some(Update::Reset(workers)) = fixed.watch().next().await else { panic!("no reset") };
        let ids: Vec<&str> = workers.iter().map(|worker| worker.worker_id.as_str()).collect();
        assert_eq!(ids, ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn a_malformed_address_is_refused_at_once() {
        let error = Fixed::new(&["http://a:1", "b"]).unwrap_err();
        assert_eq!(error.address, "b");
    }
}
