//! What `confidence` promises, checked on samples that a model drew: every fourth item with several responses of
//! `docs/results/qwen2.5-coder-0.5b.jsonl`, 32 samples each.

use serde::Deserialize;

use super::*;

const RECORDED: &str = include_str!("recorded.jsonl");
/// Number of random orders of an item's samples.
const N_ORDERS: u64 = 20;

/// An item's samples, each with one score per response; null if it gave none.
#[derive(Debug, Deserialize)]
struct Recorded {
    scores: Vec<Row>,
}

fn recorded() -> Vec<Recorded> {
    RECORDED.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same samples in another order. The test must hold whichever sample of a position came first, so each sample
/// keeps its position within its block of orders.
fn reordered(rows: &[Row], block: usize, seed: u64) -> Vec<Row> {
    let mut random = SplitMix64::new(seed);
    let mut reordered = rows.to_vec();
    for place in 0..block {
        let mut of_place: Vec<Row> = rows.iter().skip(place).step_by(block).cloned().collect();
        random.shuffle(&mut of_place);
        for (at, row) in (place..).step_by(block).zip(of_place) {
            reordered[at] = row;
        }
    }
    reordered
}

#[test]
fn confidence_keeps_its_level_on_recorded_samples() {
    let items = recorded();
    for level in [0.99, 0.95, 0.9] {
        let (mut wrong, mut saved, mut n) = (0, 0, 0);
        for item in &items {
            let n_responses = item.scores.iter().flatten().map(Vec::len).max().unwrap();
            let k = item.scores.len() as u32;
            let stop = StopRule::Confidence(level);
            let setup = Setup::plain(n_responses, k, stop, Rule::Mean);
            let stopping = setup.stopping();
            for seed in 0..N_ORDERS {
                let rows = reordered(&item.scores, setup.plan.block as usize, seed);
                let samples = setup.samples(&rows, &vec![0.0; rows.len()]);
                let replay = replay(&samples, &stopping);
                let seen = &samples[..replay.prefix as usize];
                wrong += usize::from(setup.pick(seen) != setup.pick(&samples));
                (saved, n) = (saved + replay.saved, n + 1);
            }
        }
        let share = wrong as f64 / n as f64;
        println!("confidence={level}: {wrong} of {n} wrong, {saved} samples saved");
        assert!(share <= 1.0 - level, "{level}: {wrong} of {n} picks are wrong");
        assert!(saved > 0, "{level}: nothing was tested");
    }
}
