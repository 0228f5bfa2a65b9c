//! What an observer sees of requests.

use std::sync::Arc;
use std::time::Duration;

use jury_coordinator::Config;
use jury_coordinator::observe::{Observer, RequestNumber, Seen};
use jury_worker::backend::scripted::{Act, ScriptedBackend};
use parking_lot::Mutex;

use crate::cluster::{Cluster, request};

/// Records what it sees.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(u64, String)>>);

impl Observer for Notes {
    fn observe(&self, number: RequestNumber, seen: Seen<'_>) {
        let note = match seen {
            Seen::Came { tenant, request } => format!("{tenant} sent {}", request.item.id),
            Seen::Planned(specs) => format!("planned {}", specs.len()),
            Seen::Spare(spec) => format!("spare {}", spec.index),
            // Their number depends on timing.
            Seen::Moved(_) => return,
            Seen::Ended(sample) => format!("ended {}", sample.scores().is_some()),
            Seen::Judged(verdict) => {
                let n_samples = verdict.samples.as_ref().map_or(0, Vec::len);
                format!("judged {:?} with {n_samples}", verdict.status)
            }
            Seen::Gone => "gone".to_owned(),
        };
        self.0.lock().push((number.0, note));
    }
}

impl Notes {
    fn of(&self, number: u64) -> Vec<String> {
        let notes = self.0.lock();
        notes.iter().filter(|(of, _)| *of == number).map(|(_, note)| note.clone()).collect()
    }
}

async fn watched(backend: ScriptedBackend) -> (Arc<Notes>, Cluster) {
    let notes = Arc::new(Notes::default());
    let config = Config { observer: Some(notes.clone()), ..Config::default() };
    (notes, Cluster::start_with(config, Duration::ZERO, &[("w", backend)]).await)
}

#[tokio::test]
async fn an_observer_sees_every_sample_and_the_caller_gets_what_it_asked_for() {
    let (notes, cluster) = watched(ScriptedBackend::new()).await;
    let mut asked = request(2);
    asked.include_samples = false;
    let verdict = cluster.score(asked).await.unwrap();
    assert_eq!(verdict.samples, None);
    let seen = [
        "default sent capital",
        "planned 2",
        "ended true",
        "ended true",
        "judged Ok with 2",
        "gone",
    ];
    assert_eq!(notes.of(1), seen);
}

#[tokio::test]
async fn a_repeat_is_judged_once_and_told_to_have_come_and_gone() {
    let (notes, cluster) = watched(ScriptedBackend::new()).await;
    let mut asked = request(2);
    asked.request_id = "r".to_owned();
    let first = cluster.score(asked.clone()).await.unwrap();
    assert_eq!(cluster.score(asked).await.unwrap(), first);
    assert_eq!(notes.of(2), ["default sent capital", "gone"]);
}

#[tokio::test]
async fn a_request_whose_caller_leaves_is_told_to_be_gone() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let handle = hanging.handle();
    let (notes, cluster) = watched(hanging).await;
    let leaving = async {
        handle.wait_for_groups(1).await;
    };
    tokio::select! {
        _ = cluster.score(request(2)) => panic!("it hangs"),
        () = leaving => {}
    }
    handle.wait_until_idle().await;
    while notes.of(1).last().is_none_or(|note| note != "gone") {
        tokio::task::yield_now().await;
    }
    assert_eq!(notes.of(1), ["default sent capital", "planned 2", "gone"]);
}
