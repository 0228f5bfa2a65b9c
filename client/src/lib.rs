//! A typed client of Jury's `RewardService`.
//!
//! ```text
//! client     score one item, stream many, ask for the fleet
//! many       the stream: as many unanswered items as the fleet draws, sent again after a lost connection
//! batch      files of items in, files of verdicts out, gone on with after a stop
//! retry      when to try again, and after how long: pure
//! error      what went wrong, with field and code
//! status     the fleet, as its coordinator sees it
//! ```
//!
//! A call is retried by error code, only inside its deadline, and always under the request id of
//! its first attempt, so that a retried call is the same call. What this crate does NOT promise:
//! that a verdict has rewards (read its status), or that answers of a stream come in order.

pub mod batch;
mod budget;
mod client;
mod config;
mod error;
mod many;
mod request;
mod retry;
mod status;
mod token;

pub use budget::enough_budget;
pub use client::Client;
pub use config::{ClientConfig, InFlight};
pub use error::ClientError;
pub use retry::RetryPolicy;
pub use status::{AdaptedStatus, FleetStatus, HeadStatus, ServedJudge, TenantStatus, WorkerStatus};
pub use token::{Token, TokenError};
