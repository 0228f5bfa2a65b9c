//! The only test in this file: a signal affects the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use jury_fabric::shutdown;

fn send_to_this_process(signal: &str) {
    let id = std::process::id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_cuts() {
    let asked = shutdown::on_signals().unwrap();
    send_to_this_process("-TERM");
    asked.drain.cancelled().await;
    assert!(!asked.cut.is_cancelled());
    send_to_this_process("-INT");
    asked.cut.cancelled().await;
}
