//! Batches through the client's stream, against a slow worker: an item's budget covers only its own samples.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jury_client::{Client, ClientConfig, InFlight, enough_budget};
use jury_grm::domain::{ReasonCode, ScoreRequest, Status, Verdict};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::scripted::{Ending, ScriptedBackend};
use jury_worker::backend::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use tokio::sync::{Mutex, watch};

use crate::cluster::{Cluster, request};

/// Draws one sample at a time, whatever capacity it reports.
#[derive(Clone)]
struct SlowBackend {
    scripted: ScriptedBackend,
    each: Duration,
    turn: Arc<Mutex<()>>,
}

impl Backend for SlowBackend {
    fn info(&self) -> BackendInfo {
        self.scripted.info()
    }

    fn load(&self) -> Load {
        self.scripted.load()
    }

    fn start(&self, group: SampleGroup, mut events: GroupEvents) -> GroupHandle {
        let (handle, cancels) = GroupHandle::new(&group);
        let SlowBackend { turn, each, .. } = self.clone();
        let drawing = async move {
            events.accepted(100, 0);
            for spec in &group.samples {
                let _turn = turn.lock().await;
                tokio::time::sleep(each).await;
                events
                    .finished(Ending::BySeed.sample(spec, &group.settings).expect("it is scored"));
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = drawing => {}
                _ = cancels.next() => {}
            }
        });
        handle
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.scripted.availability()
    }
}

/// A worker that takes `item_s` seconds for an item of 8 samples if it has no other work.
fn slow(item_s: f64) -> SlowBackend {
    let each = Duration::from_secs_f64(item_s / 8.0);
    SlowBackend { scripted: ScriptedBackend::new(), each, turn: Arc::default() }
}

async fn judge(
    cluster: &Cluster,
    in_flight: InFlight,
    n_items: u64,
    budget: Duration,
) -> Vec<Verdict> {
    let client =
        Client::new(cluster.channel(), ClientConfig { in_flight, ..ClientConfig::default() });
    let requests = (0..n_items).map(move |seed| ScoreRequest {
        seed,
        budget_ms: NonZeroU64::new(budget.as_millis() as u64),
        ..request(8)
    });
    let answers = client.score_many(stream::iter(requests));
    answers.map(|(_, answer)| answer.expect("the service answers")).collect().await
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn every_item_of_a_batch_is_judged_whole_by_a_slow_fleet() {
    for item_s in [2.0, 8.0, 25.0, 50.0] {
        let cluster = Cluster::start(&[("w", slow(item_s))]).await;
        let verdicts = judge(&cluster, InFlight::default(), 25, MINUTE).await;
        let whole = verdicts.iter().filter(|verdict| verdict.status == Status::Ok).count();
        assert_eq!(whole, 25, "{item_s} s an item");
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_that_is_told_is_enough() {
    let cluster = Cluster::start(&[("w", slow(100.0))]).await;
    let [verdict] = &judge(&cluster, InFlight::default(), 1, Duration::from_secs(30)).await[..]
    else {
        panic!("one item, one verdict")
    };
    assert_eq!(verdict.reasons[0].as_ref().unwrap().code, ReasonCode::Budget);
    let enough = enough_budget(verdict, Duration::from_secs(30)).unwrap();
    assert!(enough >= Duration::from_secs(100) && enough < Duration::from_secs(300), "{enough:?}");
    let verdicts = judge(&cluster, InFlight::default(), 3, enough).await;
    assert!(verdicts.iter().all(|verdict| verdict.status == Status::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_a_fast_fleet_busy() {
    let cluster = Cluster::start(&[("a", slow(0.1)), ("b", slow(0.1))]).await;
    let started = tokio::time::Instant::now();
    judge(&cluster, InFlight::default(), 200, MINUTE).await;
    let alone = Duration::from_secs_f64(0.1) * 200;
    assert!(started.elapsed() < alone.mul_f64(0.6), "{:?} on two workers", started.elapsed());
}
