//! The console over a real coordinator with a scripted worker: what is shown to whom, and that text remains text.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

mod live;
mod pages;
mod site;
mod tenants;
