//! Workers that do not accept a call: nothing has started, so nothing is lost, and others draw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jury_coordinator::Config;
use jury_grm::domain::{ReasonCode, Status, Verdict};
use jury_proto::convert::{SampleGroup, TooLarge};
use jury_worker::backend::scripted::{Act, Ending, GroupAct, ScriptedBackend};
use jury_worker::backend::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use tokio::sync::watch;

use crate::cluster::{Cluster, request};

const NEEDED_TOKENS: u32 = 900;

/// Accepts nothing: its memory is too small.
fn small() -> ScriptedBackend {
    let too_large = TooLarge { needed_tokens: NEEDED_TOKENS, room_tokens: 500 };
    ScriptedBackend::new().on_group(move |_| GroupAct::TooLarge(too_large))
}

/// Has so many places that it is asked first as long as it is ready.
fn roomy() -> ScriptedBackend {
    ScriptedBackend::new().with_info(|info| info.capacity = 100_000)
}

/// A cluster where a single loss would end a sample for good.
async fn cluster_without_reissues<B: Backend + Clone>(workers: &[(&str, B)]) -> Cluster {
    let config = Config { max_reissues: 0, ..Config::default() };
    Cluster::start_with(config, Duration::from_secs(3600), workers).await
}

fn assert_drawn_by_the_other(verdict: &Verdict) {
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Ok, verdict.counts.asked));
    assert_eq!((verdict.run.reissued, &verdict.run.workers[..]), (0, &["other".to_owned()][..]));
}

#[tokio::test]
async fn what_is_too_large_for_one_worker_is_drawn_by_a_larger_one() {
    let small = small();
    let asked = small.handle();
    let workers = [("small", small), ("other", ScriptedBackend::new())];
    let cluster = cluster_without_reissues(&workers).await;
    assert_drawn_by_the_other(&cluster.score(request(8)).await.unwrap());
    assert_eq!(asked.groups().len(), 1, "two free workers share two orders");
}

#[tokio::test]
async fn what_is_too_large_for_every_worker_is_unscored_and_tried_anew_when_asked_again() {
    let (first, second) = (small(), small());
    let n_asked = |backend: &ScriptedBackend| backend.handle().groups().len();
    let workers = [("a", first.clone()), ("b", second.clone())];
    let cluster = cluster_without_reissues(&workers).await;
    let mut asked = request(4);
    asked.request_id = "r".to_owned();
    let verdict = cluster.score(asked.clone()).await.unwrap();
    assert_eq!((verdict.status, &verdict.rewards[..]), (Status::Unscored, &[None, None][..]));
    let reason = verdict.reasons[0].clone().unwrap();
    assert_eq!(reason.code, ReasonCode::TooLarge);
    assert!(reason.detail.contains(&NEEDED_TOKENS.to_string()), "{reason:?}");
    assert_eq!((verdict.counts.failed, verdict.run.reissued), (4, 0));
    assert!(n_asked(&first) > 0 && n_asked(&second) > 0, "each of them may have had room");

    let n_before = n_asked(&first) + n_asked(&second);
    cluster.score(asked).await.unwrap();
    assert!(n_asked(&first) + n_asked(&second) > n_before, "a larger worker may have come");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_drains_loses_nothing() {
    let leaving = roomy().on_sample(|_, _| Act::held(Ending::BySeed));
    let handle = leaving.handle();
    let cluster =
        cluster_without_reissues(&[("leaving", leaving), ("other", ScriptedBackend::new())]).await;
    let running = cluster.score(request(4));
    let draining = async {
        handle.wait_for_groups(1).await;
        cluster.leaves_unnoticed("leaving");
        tokio::task::yield_now().await;
        let n_groups = handle.groups().len();
        assert!(cluster.is_ready("leaving"), "nobody has noticed");
        assert_drawn_by_the_other(&cluster.score(request(8)).await.unwrap());
        assert!(!cluster.is_ready("leaving"), "it was asked");
        assert_eq!(handle.groups().len(), n_groups, "and let nobody in");
        handle.release_all();
    };
    let (verdict, ()) = tokio::join!(running, draining);
    assert_eq!(verdict.unwrap().status, Status::Ok, "what ran was let run");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_be_reached_loses_nothing() {
    let config = Config { max_reissues: 0, ..Config::default() };
    let workers = [("gone", roomy()), ("other", ScriptedBackend::new())];
    let cluster = Cluster::start_with(config, Duration::ZERO, &workers).await;
    cluster.leaves_unnoticed("gone");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(cluster.is_ready("gone"), "nobody has noticed");
    assert_drawn_by_the_other(&cluster.score(request(8)).await.unwrap());
    assert!(!cluster.is_ready("gone"), "it was called");
}

/// Serves another model once it has been switched.
#[derive(Clone)]
struct Changeable {
    scripted: ScriptedBackend,
    is_changed: Arc<AtomicBool>,
}

impl Changeable {
    fn new(scripted: ScriptedBackend) -> Self {
        Self { scripted, is_changed: Arc::default() }
    }
}

impl Backend for Changeable {
    fn info(&self) -> BackendInfo {
        let mut info = self.scripted.info();
        if self.is_changed.load(Ordering::Relaxed) {
            info.model_digest = "07".repeat(32);
        }
        info
    }

    fn load(&self) -> Load {
        self.scripted.load()
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        self.scripted.start(group, events)
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.scripted.availability()
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_serves_another_model_now_loses_nothing() {
    let (changed, other) = (Changeable::new(roomy()), Changeable::new(ScriptedBackend::new()));
    let workers = [("changed", changed.clone()), ("other", other)];
    let cluster = cluster_without_reissues(&workers).await;
    // The larger class serves: the other worker counts as part of it until the change is known.
    changed.is_changed.store(true, Ordering::Relaxed);
    assert_drawn_by_the_other(&cluster.score(request(8)).await.unwrap());
    assert_eq!(changed.scripted.handle().groups(), [], "it took none");
}
