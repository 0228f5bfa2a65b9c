//! What the rules promise, over many seeded draws. `docs/voting.md` has the figures that these tests print with more
//! draws: `JURY_SIMULATION_RUNS=4000 cargo test --release -p jury-grm --lib simulation -- --nocapture`.

use super::*;

/// Draws the scores of one sample from random numbers and the position of the first response.
type Draw = fn(&mut SplitMix64, usize) -> Vec<f64>;

/// Draws of each case, unless the environment sets more.
const RUNS: usize = 300;

fn runs() -> usize {
    let asked = std::env::var("JURY_SIMULATION_RUNS").ok();
    asked.map_or(RUNS, |asked| asked.parse().expect("JURY_SIMULATION_RUNS is a number"))
}

fn uniform(random: &mut SplitMix64) -> f64 {
    random.below(1 << 30) as f64 / f64::from(1 << 30)
}

/// Nearly normal, as a sum of uniform numbers, then rounded to a score of 1..10.
fn score(random: &mut SplitMix64, mean: f64, deviation: f64) -> f64 {
    let normal: f64 = (0..12).map(|_| uniform(random)).sum::<f64>() - 6.0;
    (mean + deviation * normal).round().clamp(1.0, 10.0)
}

fn tie_of_two(random: &mut SplitMix64, _: usize) -> Vec<f64> {
    vec![score(random, 5.5, 2.0), score(random, 5.5, 2.0)]
}

fn tie_at_the_ends(random: &mut SplitMix64, _: usize) -> Vec<f64> {
    if random.below(2) == 0 { vec![10.0, 1.0] } else { vec![1.0, 10.0] }
}

/// A judge that prefers the response shown first.
fn tie_with_position_bias(random: &mut SplitMix64, place: usize) -> Vec<f64> {
    let bias = if place == 0 { 3.0 } else { -3.0 };
    vec![score(random, 5.5 + bias / 2.0, 1.5), score(random, 5.5 - bias / 2.0, 1.5)]
}

/// Rare samples that reverse everything.
fn rare_upsets(random: &mut SplitMix64, _: usize) -> Vec<f64> {
    if random.below(10) == 0 { vec![1.0, 10.0] } else { vec![6.0, 5.0] }
}

fn narrow_lead(random: &mut SplitMix64, _: usize) -> Vec<f64> {
    vec![score(random, 6.0, 2.0), score(random, 5.5, 2.0)]
}

fn clear_lead(random: &mut SplitMix64, _: usize) -> Vec<f64> {
    vec![score(random, 7.5, 2.0), score(random, 4.5, 2.0)]
}

fn tie_of_three(random: &mut SplitMix64, _: usize) -> Vec<f64> {
    (0..3).map(|_| score(random, 5.5, 2.0)).collect()
}

struct Outcomes {
    /// Share of runs that stopped with a different pick than all k samples give.
    wrong: f64,
    /// Mean share of samples that were not drawn.
    saved: f64,
    /// Mean of the first reward at the stop minus the first reward over all k samples.
    bias: f64,
    /// Mean of the absolute value of that difference.
    error: f64,
}

fn simulate(n: usize, k: u32, stop: StopRule, rule: Rule, draw: Draw) -> Outcomes {
    let setup = Setup::plain(n, k, stop, rule);
    let stopping = setup.stopping();
    let (mut wrong, mut saved, mut stopped, mut full, mut error) = (0, 0, 0.0, 0.0, 0.0);
    for run in 0..runs() {
        let mut random = SplitMix64::new(run as u64);
        let samples: Vec<Sample> = (setup.plan.samples.iter())
            .map(|spec| {
                let place = spec.order.iter().position(|&response| response == 0).unwrap_or(0);
                sample(spec, Some(&draw(&mut random, place)), 0.0)
            })
            .collect();
        let replay = replay(&samples, &stopping);
        let prefix = &samples[..replay.prefix as usize];
        wrong += usize::from(setup.pick(prefix) != setup.pick(&samples));
        saved += replay.saved;
        let reward = |samples: &[Sample]| setup.rewards(samples)[0].unwrap_or(0.0);
        let (early, whole) = (reward(prefix), reward(&samples));
        stopped += early;
        full += whole;
        error += (early - whole).abs();
    }
    let runs = runs() as f64;
    Outcomes {
        wrong: wrong as f64 / runs,
        saved: f64::from(saved) / f64::from(k) / runs,
        bias: (stopped - full) / runs,
        error: error / runs,
    }
}

const CASES: [(&str, usize, u32, Draw); 8] = [
    ("tie of two", 2, 32, tie_of_two),
    ("tie at the scale's ends", 2, 32, tie_at_the_ends),
    ("tie, position bias of 3", 2, 32, tie_with_position_bias),
    ("lead of 1, upset in every tenth", 2, 32, rare_upsets),
    ("lead of 0.5", 2, 32, narrow_lead),
    ("lead of 3", 2, 32, clear_lead),
    ("lead of 3, k = 8", 2, 8, clear_lead),
    ("tie of three", 3, 32, tie_of_three),
];

/// Three standard errors of a share of `level` over the runs.
fn noise(level: f64) -> f64 {
    3.0 * (level * (1.0 - level) / runs() as f64).sqrt()
}

#[test]
fn confidence_is_wrong_no_more_often_than_promised() {
    for level in [0.8, 0.95] {
        for (name, n, k, draw) in CASES {
            let Outcomes { wrong, saved, .. } =
                simulate(n, k, StopRule::Confidence(level), Rule::Mean, draw);
            println!("confidence={level} | {name} | wrong {wrong:.3} | saved {saved:.2}");
            assert!(wrong <= 1.0 - level + noise(1.0 - level), "{name}: {wrong}");
        }
    }
    let majority =
        simulate(2, 32, StopRule::Confidence(0.9), Rule::Majority, tie_with_position_bias);
    assert!(majority.wrong <= 0.1 + noise(0.1));
}

#[test]
fn lossless_is_never_wrong() {
    for (name, n, k, draw) in CASES {
        let Outcomes { wrong, saved, .. } = simulate(n, k, StopRule::Lossless, Rule::Mean, draw);
        println!("lossless | {name} | wrong {wrong:.3} | saved {saved:.2}");
        assert_eq!(wrong, 0.0, "{name}");
    }
}

#[test]
fn width_biases_rewards_by_little() {
    for width in [1.0, 2.0] {
        for (name, n, k, draw) in CASES {
            let outcomes = simulate(n, k, StopRule::Width(width), Rule::Mean, draw);
            let Outcomes { wrong, saved, bias, error } = outcomes;
            println!(
                "width={width} | {name} | bias {bias:+.3} | off by {error:.2} | wrong {wrong:.3} | \
                 saved {saved:.2}"
            );
            // Worst with rare samples that reverse everything: a prefix without any looks certain.
            assert!(bias.abs() < width / 3.0, "{name}: {bias}");
            assert!(error < width / 2.0, "{name}: {error}");
        }
    }
}
