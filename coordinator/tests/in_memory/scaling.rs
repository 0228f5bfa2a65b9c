//! The chart's autoscaling over a real coordinator: the loop that `jury bench autoscale` simulates reads this
//! coordinator's own metrics every second, and workers start (slowly) and leave as the loop decides. Only the workers
//! are scripted, and the clock is paused.

#[path = "../../../bench/src/autoscale/control.rs"]
mod control;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jury_coordinator::Config;
use jury_fabric::directory::{InProcess, Registration};
use jury_grm::domain::{ScoreRequest, Status};
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};
use tokio::time::{Instant, sleep};

use self::control::{Control, Demand, Settings};
use crate::cluster::{Cluster, request};
use crate::workers::Workers;

const MINUTE: u32 = 60;
/// Samples that a worker draws at once.
const CAPACITY: u32 = 8;
/// Seconds from the request for a worker to its registration.
const START_SECONDS: u32 = 60;
/// Samples per request.
const K: u32 = 8;
/// Seconds between two requests.
const EVERY: u32 = 4;
/// Seconds during which requests arrive: workers leave at a rate of one per minute.
const ASKED: u32 = 30 * MINUTE;
/// Seconds until the last worker has left as well.
const WATCHED: u32 = ASKED + 6 * MINUTE;

/// Workers as the loop decides: the first `n_ready` registrations are in the directory.
struct Fleet {
    directory: InProcess,
    registrations: Vec<Registration>,
    n_ready: usize,
    /// Seconds at which starting workers will be ready, in order.
    starting: VecDeque<u32>,
}

impl Fleet {
    fn scale(&mut self, second: u32, wanted: usize) {
        while self.n_ready + self.starting.len() < wanted {
            self.starting.push_back(second + START_SECONDS);
        }
        while self.n_ready + self.starting.len() > wanted {
            if self.starting.pop_back().is_none() {
                self.n_ready -= 1;
                // It finishes its running samples, and gets no more.
                self.directory.remove(&self.registrations[self.n_ready].worker_id);
            }
        }
        while self.starting.front().is_some_and(|at| *at <= second) {
            self.starting.pop_front();
            self.directory.add(self.registrations[self.n_ready].clone());
            self.n_ready += 1;
        }
    }
}

/// A worker with a lane for each sample that it draws at once: a sample that finds none free waits for one.
fn worker(sample: Duration) -> ScriptedBackend {
    let lanes =
        Arc::new(Mutex::new(BinaryHeap::from([Reverse(Instant::now()); CAPACITY as usize])));
    ScriptedBackend::new().with_info(|info| info.capacity = CAPACITY).on_sample(move |_, _| {
        let mut lanes = lanes.lock().expect("nobody panics with it");
        let now = Instant::now();
        let Reverse(free) = lanes.pop().expect("there are as many as were made");
        let end = free.max(now) + sample;
        lanes.push(Reverse(end));
        Act::after(end - now, Ending::BySeed)
    })
}

/// What the chart's queries read from the coordinator.
fn told(cluster: &Cluster) -> Demand {
    let text = cluster.metrics();
    let value = |name: &str| {
        let start = format!("{name}{{model=\"scripted\"}} ");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .expect("it is told from the start");
        line.parse::<f64>().expect("a gauge is a number") as u32
    };
    Demand {
        admitted_samples: value("jury_admitted_samples"),
        queued_samples: value("jury_queued_samples"),
        queued_work_seconds: value("jury_queued_work_seconds"),
    }
}

/// Sends requests for half an hour. Returns the number of workers wanted in each second until long after that, when
/// all requests are answered.
async fn wanted_by_second(sample: Duration, settings: Settings) -> Vec<u32> {
    let backends: Vec<_> = (0..settings.most).map(|n| (format!("w{n}"), worker(sample))).collect();
    let workers: Vec<_> = backends.iter().map(|(id, one)| (id.as_str(), one.clone())).collect();
    let running = Workers::start(Duration::ZERO, &workers);
    let (directory, registrations) = (running.directory.clone(), running.registrations.clone());
    registrations.iter().for_each(|one| directory.remove(&one.worker_id));
    let mut fleet = Fleet { directory, registrations, n_ready: 0, starting: VecDeque::new() };
    let config = Config {
        awaited_models: vec!["scripted".to_owned()],
        hedge_budget: 0.0,
        ..Config::default()
    };
    let cluster = Arc::new(Cluster::coordinate(config, running, 0).await);

    let mut control = Control::new(settings);
    let (mut requests, mut wanted) = (Vec::new(), Vec::new());
    for second in 0..WATCHED {
        if second < ASKED && second.is_multiple_of(EVERY) {
            let mut request = ScoreRequest { budget_ms: NonZeroU64::new(900_000), ..request(K) };
            request.model = Some("scripted".to_owned());
            request.seed = u64::from(second);
            let cluster = Arc::clone(&cluster);
            requests.push(tokio::spawn(async move { cluster.score(request).await }));
        }
        sleep(Duration::from_secs(1)).await;
        wanted.push(control.step(second, told(&cluster)));
        fleet.scale(second, wanted[second as usize] as usize);
    }
    for request in requests {
        let verdict = request.await.expect("it ends").expect("it is answered");
        assert_eq!(
            (verdict.status, verdict.counts.voted),
            (Status::Ok, K),
            "{:?}",
            verdict.reasons
        );
    }
    wanted
}

#[tokio::test(start_paused = true)]
async fn by_a_coordinators_own_figures_workers_come_from_zero_rest_at_what_the_load_needs_and_leave()
 {
    for a_sample in [20, 60] {
        let settings = Settings {
            most: 40,
            samples_per_worker: CAPACITY,
            scale_in_seconds: 2 * MINUTE,
            cooldown_seconds: 2 * MINUTE,
            ..Settings::default()
        };
        let wanted = wanted_by_second(Duration::from_secs(a_sample), settings).await;
        let needed = K / EVERY * a_sample as u32 / CAPACITY;
        let (during, after) = wanted.split_at(ASKED as usize);
        let turns = |wanted: &[u32]| {
            let moves: Vec<_> = wanted
                .windows(2)
                .map(|pair| pair[1].cmp(&pair[0]))
                .filter(|by| by.is_ne())
                .collect();
            moves.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        assert!(turns(during) <= 1, "samples of {a_sample} s: {during:?}");
        let rest = during[during.len() - 1];
        assert!(
            rest >= needed && rest <= needed + 2,
            "{rest} for {needed}, samples of {a_sample} s: {during:?}"
        );
        assert!(
            after.is_sorted_by(|earlier, later| earlier >= later),
            "samples of {a_sample} s: {after:?}"
        );
        assert_eq!(after.last(), Some(&0), "samples of {a_sample} s: {after:?}");
    }
}
