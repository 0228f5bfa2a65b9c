//! The client of HTTP behind requests, made anew when the files of its certificates change.
//!
//! Without files of its own it trusts whom this machine trusts. Not promised: that a connection in use sees new files; the
//! next request opens one that does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jury_fabric::tls::ClientTls;
use rustls::ClientConfig;

/// Time for a connection to open.
const CONNECT: Duration = Duration::from_secs(5);
/// An idle connection is closed by us before the servers in use close it, the earliest after 5 s: a request on one that
/// is just being closed would fail.
const IDLE: Duration = Duration::from_secs(4);

/// A pool of connections to one upstream. Clones share it.
#[derive(Clone)]
pub(super) struct Client(Arc<Shared>);

struct Shared {
    /// Whom it trusts, and what it shows; `None`: as this machine does.
    tls: Option<ClientTls>,
    /// Whether proxies of the environment are left out.
    is_direct: bool,
    built: Mutex<Built>,
}

struct Built {
    client: reqwest::Client,
    /// What it was made of.
    config: Option<Arc<ClientConfig>>,
}

// === impl Client ===

impl Client {
    pub(super) fn new(tls: Option<ClientTls>, is_direct: bool) -> reqwest::Result<Self> {
        let config = tls.as_ref().map(ClientTls::current);
        let client = build(config.as_deref(), is_direct)?;
        Ok(Self(Arc::new(Shared { tls, is_direct, built: Mutex::new(Built { client, config }) })))
    }

    /// With the files as they are now.
    pub(super) fn current(&self) -> reqwest::Client {
        let Shared { tls, is_direct, built } = &*self.0;
        let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
        let config = tls.as_ref().map(ClientTls::current);
        let is_same = match (&config, &built.config) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => true,
        };
        // What cannot be built leaves the last good one, as files do that cannot be used.
        if !is_same && let Ok(client) = build(config.as_deref(), *is_direct) {
            *built = Built { client, config };
        }
        built.client.clone()
    }
}

// === private ===

fn build(config: Option<&ClientConfig>, is_direct: bool) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .redirect(reqwest::redirect::Policy::none());
    if is_direct {
        builder = builder.no_proxy();
    }
    if let Some(config) = config {
        let mut config = config.clone();
        // Our own parts speak HTTP/2, upstreams need not.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        builder = builder.use_preconfigured_tls(config);
    }
    builder.build()
}
