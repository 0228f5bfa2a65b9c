//! What to measure, and at which points.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::node::Pace;
use crate::args::BenchClusterArgs;

/// Number of workers when the coordinator is measured, not the fleet.
const FEW_WORKERS: usize = 4;
/// Samples per request when k does not vary.
const USUAL_K: u32 = 8;
/// Concurrent requests that keep the coordinator busy.
const BUSY: usize = 64;
/// Concurrent samples when k varies: enough to keep the coordinator busy for every k.
const BUSY_SAMPLES: usize = 512;
/// Groups that each worker of a paced fleet has queued beyond those that it draws, as a factor.
const AHEAD: usize = 2;

/// A whole run.
#[derive(Debug, Clone)]
pub struct Config {
    pub rounds: usize,
    /// Seed of everything random: token counts, failures, texts.
    pub seed: u64,
    pub responses: usize,
    pub response_bytes: usize,
    /// Processes over which simulated workers are spread; 0: they run in this process.
    pub processes: usize,
    pub points: Vec<Point>,
}

/// What a point measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Jury's own latency: one request at a time, instant workers.
    Overhead,
    /// The coordinator's throughput and CPU time: many requests, instant workers.
    Throughput,
    /// Cost by samples per request.
    Samples,
    /// Cost by requests in flight.
    InFlight,
    /// Utilisation of a fleet of GPU-like workers.
    Efficiency,
}

/// One measurement, the same in every round.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub purpose: Purpose,
    pub workers: usize,
    pub k: u32,
    pub in_flight: usize,
    pub pace: Pace,
    /// Time before the measured window.
    pub warm_up: Duration,
    /// The measured window.
    pub window: Duration,
}

// === impl Config ===

impl From<BenchClusterArgs> for Config {
    fn from(args: BenchClusterArgs) -> Self {
        let quick = args.quick;
        let or = |given: Vec<usize>, quickly: &[usize], fully: &[usize]| match given.is_empty() {
            false => given,
            true => if quick { quickly } else { fully }.to_vec(),
        };
        let workers = or(args.workers, &[1, 8, 64], &[1, 4, 16, 64, 256]);
        let ks = or(args.k, &[1, 32, 256], &[1, 8, 32, 128, 256]);
        let in_flight = or(args.in_flight, &[1, 256], &[1, 16, 64, 256]);
        let seconds = args.seconds.unwrap_or(if quick { 1.0 } else { 5.0 });
        let window = Duration::from_secs_f64(seconds);
        let tokens = args.tokens.unwrap_or(if quick { 100 } else { 300 });
        let instant = |purpose, k, in_flight| Point {
            purpose,
            workers: FEW_WORKERS,
            k,
            in_flight,
            pace: Pace::instant(tokens),
            warm_up: window / 4,
            window,
        };
        let pace = Pace {
            prefill_rate: Some(args.prefill_rate),
            decode_rate: Some(args.decode_rate),
            tokens,
            jitter: args.jitter,
            failures: args.failures,
            capacity: args.capacity,
        };
        // Two generations of samples: one to fill the slots, one to spread their ends.
        let generation = Duration::from_secs_f64(f64::from(tokens) / args.decode_rate);
        let paced = |workers: usize| Point {
            purpose: Purpose::Efficiency,
            workers,
            k: USUAL_K,
            in_flight: (AHEAD * workers * args.capacity as usize).div_ceil(USUAL_K as usize),
            pace: pace.clone(),
            warm_up: generation * 2,
            window: window.max(generation * 3),
        };
        let mut points = vec![
            instant(Purpose::Overhead, USUAL_K, 1),
            instant(Purpose::Throughput, USUAL_K, BUSY),
        ];
        points.extend(ks.iter().map(|&k| {
            let k = u32::try_from(k).expect("its range is checked where it is read");
            instant(Purpose::Samples, k, BUSY_SAMPLES.div_ceil(k as usize))
        }));
        points.extend(in_flight.iter().map(|&n| instant(Purpose::InFlight, USUAL_K, n)));
        points.extend(workers.iter().map(|&n| paced(n)));
        Self {
            rounds: args.rounds.unwrap_or(if quick { 1 } else { 3 }),
            seed: args.seed,
            responses: args.responses,
            response_bytes: args.response_bytes,
            processes: args.processes,
            points,
        }
    }
}

// === impl Point ===

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, k, in_flight, .. } = self;
        match self.purpose {
            Purpose::Overhead => f.write_str("latency"),
            Purpose::Throughput => f.write_str("throughput"),
            Purpose::Samples => write!(f, "k {k}"),
            Purpose::InFlight => write!(f, "{in_flight} in flight"),
            Purpose::Efficiency => write!(f, "{workers} GPU-like workers"),
        }
    }
}
