//! Jury.
fn main() {}
