//! The door over HTTP, in one process with a scripted worker.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

mod door;
mod leaving;
mod openapi;
mod schema;
mod score;
mod served;
mod trainers;
