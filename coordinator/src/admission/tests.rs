use super::*;

const SIXTY: Size = Size { samples: 60, tokens: 60_000 };
const ONE: Size = Size { samples: 1, tokens: 1_000 };

fn only() -> Share {
    Share::default()
}

/// A request that waits in its own task, and is already in the queue.
async fn waiting(
    admission: &Admission,
    model: &'static str,
) -> tokio::task::JoinHandle<Result<(), Overloaded>> {
    let n_before = admission.load().waiting;
    let waiting = tokio::spawn({
        let admission = admission.clone();
        async move {
            let held = admission.hold(&only(), 10)?;
            admission.admit(&only(), model, SIXTY, held).await.map(|_| ())
        }
    });
    while admission.load().waiting == n_before {
        tokio::task::yield_now().await;
    }
    waiting
}

#[tokio::test]
async fn a_permit_given_back_lets_the_next_request_in() {
    let admission = Admission::new(4, 1 << 20);
    let first =
        admission.admit(&only(), "m", SIXTY, admission.hold(&only(), 10).unwrap()).await.unwrap();
    let next = waiting(&admission, "m").await;
    drop(first);
    assert_eq!(next.await.unwrap(), Ok(()));
    assert_eq!(admission.load(), AdmissionLoad { running: 0, waiting: 0 });
}

#[tokio::test]
async fn a_request_that_goes_away_leaves_the_queue_and_the_room() {
    let admission = Admission::new(1, 1 << 20);
    let _running =
        admission.admit(&only(), "m", SIXTY, admission.hold(&only(), 10).unwrap()).await.unwrap();
    let waiting = waiting(&admission, "m").await;
    let refused =
        admission.admit(&only(), "m", ONE, admission.hold(&only(), 10).unwrap()).await.unwrap_err();
    assert!(refused.problem.starts_with("1 requests for model \"m\""), "{refused}");
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(admission.load().waiting, 0);
    assert_eq!(admission.room.n_taken(), 0);
}

#[tokio::test]
async fn a_busy_model_does_not_hold_up_another() {
    let admission = Admission::new(4, 1 << 20);
    let _running =
        admission.admit(&only(), "27b", SIXTY, admission.hold(&only(), 10).unwrap()).await.unwrap();
    let _waiting = waiting(&admission, "27b").await;
    let other = admission.admit(&only(), "1.5b", SIXTY, admission.hold(&only(), 10).unwrap()).await;
    assert!(other.is_ok());
    assert_eq!(admission.load(), AdmissionLoad { running: 2, waiting: 1 });
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_and_whoever_runs_holds_no_room() {
    let admission = Admission::new(100, 10 * (room::BYTES_A_REQUEST + 10));
    let running =
        admission.admit(&only(), "m", SIXTY, admission.hold(&only(), 10).unwrap()).await.unwrap();
    let mut in_queue = Vec::new();
    for _ in 0..10 {
        in_queue.push(waiting(&admission, "m").await);
    }
    let refused = admission.hold(&only(), 10).unwrap_err();
    assert!(refused.problem.contains("--queue-mib"), "{refused}");
    drop(running);
    for waiting in in_queue {
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
    assert_eq!(admission.room.n_taken(), 0);
}
