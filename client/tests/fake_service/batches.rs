//! Batches of lines: every line is told of once, whatever it holds.

use std::io::{BufReader, Cursor, Read};
use std::time::Duration;

use futures::StreamExt;
use jury_client::batch::{self, Onto, Sink};
use jury_client::{Client, ClientConfig, InFlight, RetryPolicy};

use crate::service::{Act, FakeRewardService, busy, request};

/// Judges `lines`, of which `judged_before` need it no more; each event as one word with its line.
async fn events_of(
    client: &Client,
    lines: impl Read + Send + 'static,
    judged_before: &[&str],
) -> Vec<String> {
    let before = judged_before.iter().map(|id| format!("{{\"item_id\":\"{id}\"}}\n"));
    events_beside(client, lines, &before.collect::<String>()).await
}

/// The same beside a file of verdicts.
async fn events_beside(
    client: &Client,
    lines: impl Read + Send + 'static,
    verdicts: &str,
) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("verdicts.jsonl");
    std::fs::write(&out, verdicts).unwrap();
    let (_, finished) = Sink::file(&out, Onto::Any, &request("any"), true).unwrap();
    let lines = Box::new(BufReader::new(lines));
    let events = batch::score(client, request("any"), finished, lines);
    let word = |event| match event {
        batch::Event::Bad { line, .. } => format!("{line} bad"),
        batch::Event::UnknownKey { line, key } => format!("{line} key {key}"),
        batch::Event::Asked(place) => format!("{} asked", place.line),
        batch::Event::Known(place, known) => format!("{} known {}", place.line, known.id),
        batch::Event::Again(place, known) => format!("{} again {}", place.line, known.id),
        batch::Event::Changed(place, id) => format!("{} changed {id}", place.line),
        batch::Event::Judged(place, verdict) => {
            format!("{} judged {}", place.line, verdict.item_id)
        }
        batch::Event::Failed(place, _) => format!("{} failed", place.line),
        batch::Event::BrokeOff(_) => "broke off".to_owned(),
    };
    events.map(word).collect().await
}

fn one_at_a_time() -> ClientConfig {
    let retry = RetryPolicy::NEVER;
    ClientConfig { in_flight: InFlight::Fixed(1), retry, ..ClientConfig::default() }
}

#[tokio::test]
async fn every_line_of_a_batch_is_told_of_once_and_before_its_answer() {
    let item = |id: &str| {
        format!("{{\"id\": \"{id}\", \"query\": \"q\", \"responses\": [\"r\"], \"colour\": 1}}\n")
    };
    let lines = [&item("a"), "oops\n", "\n", &item("b"), &item("a"), &item("c")].concat();
    let fake = FakeRewardService::scripted([Act::Judge, busy(Duration::ZERO)]);
    let events = events_of(&fake.client(one_at_a_time()), Cursor::new(lines), &["b"]).await;
    let expected = [
        "1 key colour",
        "1 asked",
        "1 judged a",
        "2 bad",
        "4 key colour",
        "4 known b",
        "5 key colour",
        "5 bad",
        "6 key colour",
        "6 asked",
        "6 failed",
    ];
    assert_eq!(events, expected);
    assert_eq!(fake.seen_ids().len(), 2, "what is known is not asked for");
}

#[tokio::test]
async fn a_bad_line_leaves_its_id_to_another_and_a_changed_item_is_asked_for_again() {
    let item = |id: &str, query: &str| {
        format!("{{\"id\": \"{id}\", \"query\": \"{query}\", \"responses\": [\"r\"]}}\n")
    };
    let lines = [item("a", ""), item("a", "q"), item("b", "other")].concat();
    let fake = FakeRewardService::default();
    let digest = "\"provenance\":{\"item_digest\":\"0\"}";
    let before = format!("{{\"item_id\":\"b\",{digest}}}\n");
    let events = events_beside(&fake.client(one_at_a_time()), Cursor::new(lines), &before).await;
    let expected = ["1 bad", "2 asked", "2 judged a", "3 changed b", "3 asked", "3 judged b"];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn lines_that_cannot_be_read_on_leave_those_before_their_answers() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let item = "{\"query\": \"q\", \"responses\": [\"r\"]}\n";
    let lines = Read::chain(item.as_bytes(), Broken);
    let fake = FakeRewardService::default();
    let mut events = events_of(&fake.client(one_at_a_time()), lines, &[]).await;
    events.sort();
    assert_eq!(events, ["1 asked", "1 judged line-1", "broke off"]);
}
