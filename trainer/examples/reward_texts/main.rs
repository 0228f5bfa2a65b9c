//! Prints texts with their rewards in `jury train rl`, one JSON object per line. The Python client's
//! `jury.outcome_reward` is tested against them (client/python/tests/test_reward.py).

mod texts;

use std::io::Write;
use std::path::Path;

use serde_json::json;

fn main() -> std::io::Result<()> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures");
    let mut out = std::io::stdout().lock();
    for texts::Rewarded { item, order, text, reward } in texts::all(&fixtures) {
        let (value, is_readable) = (reward.value, reward.is_readable);
        let line = json!({"item": item, "order": order, "text": text, "reward": value, "is_readable": is_readable});
        writeln!(out, "{line}")?;
    }
    Ok(())
}
