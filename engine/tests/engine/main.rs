//! Tests of the engine with a real model: SmolLM2-135M-Instruct, Q4_1.
//!
//! The file is given by `JURY_TEST_MODEL`, or found in the user's cache folder, where `make test` puts it. Ignored
//! tests need further models in the cache folder, which `make test-models` fetches.

#![allow(clippy::unwrap_used)] // Tests may.

mod adapters;
mod break_out;
mod card;
mod corrupt;
mod device;
mod distance;
mod families;
mod gemma;
mod hidden;
mod invariance;
mod low_rank;
#[cfg(target_os = "linux")]
mod memory;
mod merge;
mod readout;
mod reference;
mod salts;
mod samples;
mod scalar;
mod speculative;
mod support;
mod table;
