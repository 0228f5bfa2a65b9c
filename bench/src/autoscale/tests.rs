use super::control::Demand;
use super::*;

const FLEET: FleetSettings = FleetSettings { capacity: 24, sample_seconds: 20, start_seconds: 180 };

fn wanted(seconds: &[Second]) -> Vec<u32> {
    seconds.iter().map(|second| second.wanted).collect()
}

/// Samples this long are also scaled by their waiting time.
const LONG_SAMPLES: FleetSettings = FleetSettings { sample_seconds: 60, ..FLEET };

/// Number of workers needed for a constant load of `rate` samples per second.
fn needed(rate: u32, fleet: FleetSettings) -> u32 {
    (rate * fleet.sample_seconds).div_ceil(Settings::default().samples_per_worker)
}

#[test]
fn under_any_constant_load_the_loop_comes_to_rest_at_enough_workers_whatever_the_start_takes() {
    for rate in 1..=30 {
        let cases = [1, 60, 180, 420].iter().flat_map(|start| [(*start, 20), (*start, 60)]);
        for (start_seconds, sample_seconds) in cases {
            let fleet = FleetSettings { start_seconds, sample_seconds, ..FLEET };
            let settings = Settings { most: 200, ..Settings::default() };
            let seconds = simulate(|_| rate, 4 * 3600, fleet, settings);
            let last_hour = &seconds[3 * 3600..];
            let rest = last_hour[0].wanted;
            assert!(
                last_hour.iter().all(|s| s.wanted == rest),
                "{rate} a second, start {start_seconds}, samples of {sample_seconds} s"
            );
            assert!(
                last_hour.iter().all(|s| s.waiting == 0),
                "{rate} a second, start {start_seconds}, samples of {sample_seconds} s"
            );
            assert!(
                rest.abs_diff(needed(rate, fleet)) <= 1 + needed(rate, fleet) / 10,
                "{rest} for {rate} a second"
            );
        }
    }
}

#[test]
fn each_step_is_followed_by_growth_and_at_most_one_return_to_rest() {
    const HOUR: u32 = 3_600;
    let cases = [(1, 10), (0, 20), (2, 40)]
        .map(|(low, high)| [(low, high, FLEET), (low, high, LONG_SAMPLES)]);
    for (low, high, fleet) in cases.into_iter().flatten() {
        let load = |t: u32| if (HOUR..3 * HOUR).contains(&t) { high } else { low };
        let settings = Settings { most: 200, ..Settings::default() };
        let seconds = simulate(load, 5 * HOUR, fleet, settings);
        let (first, rest) = seconds.split_at(HOUR as usize);
        let (during, after) = rest.split_at(2 * HOUR as usize);
        // The slow start leaves a backlog, which needs more workers than the load; afterwards they leave, once.
        assert!(turns(first) <= 1 && turns(during) <= 1, "{low} to {high}");
        assert_eq!(turns(after), 0, "{high} to {low}");
        assert!(wanted(after).is_sorted_by(|earlier, later| earlier >= later));
    }
}

#[test]
fn bursts_that_come_within_the_window_move_nobody() {
    let load = |t: u32| if t.is_multiple_of(240) { 960 } else { 0 };
    let seconds = simulate(load, 4 * 3600, FLEET, Settings::default());
    let settled = wanted(&seconds[2 * 3600..]);
    assert!(settled.iter().all(|n| *n == settled[0]), "{settled:?}");
}

#[test]
fn bursts_kept_longer_than_their_distance_rise_and_fall_once() {
    let kept = LOADS.iter().find(|load| load.scale_in_seconds > 0).expect("there is one");
    for fleet in [FLEET, LONG_SAMPLES] {
        let settings = Settings { scale_in_seconds: kept.scale_in_seconds, ..Settings::default() };
        let seconds = simulate(kept.of_second, SECONDS, fleet, settings);
        assert_eq!(turns(&seconds), 1, "samples of {} s", fleet.sample_seconds);
    }
}

#[test]
fn long_samples_that_wait_want_more_workers_than_their_number_alone() {
    let of = |sample_seconds: u32| Demand {
        admitted_samples: 240,
        queued_samples: 240,
        queued_work_seconds: 240 * sample_seconds,
    };
    let wanted = |demand| {
        let mut control = Control::new(Settings { least: 10, ..Settings::default() });
        (0..=600).map(|second| control.step(second, demand)).last().expect("seconds went by")
    };
    // 240 running and 240 waiting: 20 workers. At 60 s each, the waiting ones need twice their number of slots to
    // finish within 30 s.
    assert_eq!([of(0), of(20), of(60)].map(wanted), [20, 20, 30]);
}

#[test]
fn no_worker_is_there_when_nothing_is_asked_and_the_first_question_starts_one() {
    let load = |t: u32| u32::from(t == 1_000);
    let seconds = simulate(load, 3_600, FLEET, Settings::default());
    assert!(wanted(&seconds[..1_000]).iter().all(|n| *n == 0));
    assert!(seconds[1_045].wanted == 1, "{:?}", seconds[1_045]);
    assert_eq!(seconds[1_000 + 45 + FLEET.start_seconds as usize].waiting, 0);
    assert_eq!(seconds[3_599].wanted, 0);
}

#[test]
fn limits_are_kept_under_any_load() {
    let settings = Settings { least: 2, most: 5, ..Settings::default() };
    let load = |t: u32| t.wrapping_mul(2_654_435_761).rotate_left(t % 7) % 97;
    let seconds = simulate(load, 7_200, FLEET, settings);
    assert!(wanted(&seconds).iter().all(|n| (2..=5).contains(n)));
}
