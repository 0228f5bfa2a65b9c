//! Verdicts that are not the last word on their items.

use jury_grm::domain::Status;

use super::*;

/// A verdict by `n_valid` samples, which is PARTIAL.
fn partial(id: &str, n_valid: u32) -> Verdict {
    let mut verdict = Verdict { status: Status::Partial, ..verdict(id) };
    verdict.counts.valid = n_valid;
    verdict
}

#[test]
fn what_is_judged_again_keeps_its_verdict_and_its_place_until_a_better_one_is_there() {
    let retried = |id: &str| json_line(&unscored(id, ReasonCode::Budget)).unwrap();
    let part = |n_valid| json_line(&partial("b", n_valid)).unwrap();
    let before = retried("a") + &part(2) + &lines(&["c"]) + &retried("x");
    let b = |verdict| Event::Judged(place(1), Box::new(verdict));
    let ended = || None;
    for (event, stands) in [
        (ended(), part(2)),
        (Some(failed_call(1)), part(2)),
        (Some(b(unscored("b", ReasonCode::Budget))), part(2)),
        (Some(b(partial("b", 1))), part(2)),
        (Some(b(partial("b", 3))), part(3)),
        (Some(judged(1, "b")), lines(&["b"])),
    ] {
        for ordered in [true, false] {
            let output = Output::holding(&before);
            let opened = Sink::file(&output.path(), Onto::SameWhole, &request(), ordered);
            let (mut sink, finished) = opened.unwrap();
            for (number, id) in [(0, "a"), (1, "b")] {
                sink.take(&finished.again(number, id)).unwrap();
            }
            sink.take(&finished.known(2, "c")).unwrap();
            event.iter().for_each(|event| sink.take(event).unwrap());
            sink.finish().unwrap();
            let mut now = vec![retried("a"), stands.clone(), lines(&["c"]), retried("x")];
            if !ordered && stands != part(2) {
                let b = now.remove(1);
                now.push(b);
            }
            assert_eq!(output.read(), now.concat(), "{ordered} {event:?}");
            assert!(output.is_alone());
        }
    }
}

#[test]
fn of_two_verdicts_that_a_kill_left_the_whole_one_counts() {
    let output = Output::holding(&json_line(&partial("a", 1)).unwrap());
    fs::write(output.journal(), lines(&["a"])).unwrap();
    let stored = read_verdicts(&output.path()).unwrap();
    assert_eq!(stored, [verdict("a")]);
    for onto in [Onto::Same, Onto::SameWhole] {
        let (mut sink, finished) = output.open(onto).unwrap();
        sink.take(&finished.known(0, "a")).unwrap();
        sink.finish().unwrap();
        assert_eq!(output.read(), lines(&["a"]));
        assert!(output.is_alone());
    }
}
