//! How Jury's parts find and talk to each other.
//!
//! * [`directory`]: which workers exist, from etcd, Kubernetes, a fixed list or this process;
//! * [`connector`]: from an address to a channel, over TCP or memory;
//! * [`transport`]: servers; health, reflection, drain; [`tls`]: certificates, reloaded when their files change;
//! * [`trace`] and [`deadline`]: what travels with a call;
//! * [`telemetry`]: logs and metrics; [`shutdown`]: signals; [`backoff`]: when to retry;
//! * [`secret`]: texts that are never shown.
//!
//! Nothing here depends on what is being called: prompts, samples and verdicts belong to other crates.

pub mod backoff;
pub mod connector;
pub mod deadline;
pub mod directory;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod transport;
