//! How calls travel: gRPC over TCP between processes, over memory inside one process.
//!
//! ```text
//! client ── Connector::connect ── TCP, TLS ─┐
//!                                           ├── serve(routes, health, listener, shutdown)
//! client ── in_process() ──────── memory ───┘     + grpc.health.v1 + reflection
//! ```
//!
//! Both transports carry the same bytes, so a test in memory is also evidence about the network.
//!
//! Out of scope: retries (left to the client and the dispatcher, by error code), choosing between several servers,
//! and tokens.

mod calls;
mod health;
mod host;
mod http;
mod idle;
mod in_process;
mod listen;
mod peer;
mod plain;
mod secure;
mod server;
mod severable;
mod unread;

pub use self::http::serve_http;
pub use health::{HealthHandle, NoAnswer, is_serving};
pub use host::{Reach, is_own_host};
pub use in_process::{InProcessIncoming, in_process};
pub use listen::{BindError, ListenAddress, Listener, NotAListenAddress, bind, bind_all};
pub use peer::Peer;
pub use secure::{SecureConnection, TlsListener};
pub use server::{ServeError, ServerConfig, serve};
pub use tonic::transport::Channel;

/// Largest gRPC message, in bytes: an item of 4 MiB, escaped and rendered, with room to spare.
///
/// tonic keeps this limit in the generated service, so it is set when a service is built:
/// `XServer::new(..).max_decoding_message_size(MAX_MESSAGE_BYTES)`, and the same for clients.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
