//! The HTTP client for requests; it is rebuilt when its certificate files change.
//!
//! Without certificate files of its own it uses the system's trusted authorities. Not promised: that an open connection
//! sees new files; the next request opens a connection that does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jury_fabric::tls::ClientTls;
use rustls::ClientConfig;

/// Timeout for opening a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are closed before the servers in use close them, the earliest of which does so after 5 s: a request
/// on a connection that is just being closed would fail.
const IDLE: Duration = Duration::from_secs(4);

/// A pool of connections to one upstream. Clones share it.
#[derive(Clone)]
pub(super) struct Client(Arc<Shared>);

struct Shared {
    /// Trusted authorities and our own certificate; `None`: the system's defaults.
    tls: Option<ClientTls>,
    /// Whether the proxies set in the environment are ignored.
    is_direct: bool,
    built: Mutex<Built>,
}

struct Built {
    client: reqwest::Client,
    /// The configuration that it was built from.
    config: Option<Arc<ClientConfig>>,
}

// === impl Client ===

impl Client {
    pub(super) fn new(tls: Option<ClientTls>, is_direct: bool) -> reqwest::Result<Self> {
        let config = tls.as_ref().map(ClientTls::current);
        let client = build(config.as_deref(), is_direct)?;
        Ok(Self(Arc::new(Shared { tls, is_direct, built: Mutex::new(Built { client, config }) })))
    }

    /// The client for the current contents of the files.
    pub(super) fn current(&self) -> reqwest::Client {
        let Shared { tls, is_direct, built } = &*self.0;
        let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
        let config = tls.as_ref().map(ClientTls::current);
        let is_same = match (&config, &built.config) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => true,
        };
        // If a client cannot be built, the last good one stays in use, as it does when the files cannot be read.
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
        // Our own components use HTTP/2; upstreams need not support it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        builder = builder.use_preconfigured_tls(config);
    }
    builder.build()
}
