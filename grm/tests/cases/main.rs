//! Inputs that users of judges have met, with the expected results, from the files beside this one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod content_shapes;
mod judge_outputs;
