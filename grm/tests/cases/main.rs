//! Inputs that people who run judges have met, each with what it must give, from the files beside this.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod content_shapes;
mod judge_outputs;
