//! Any text gives scores of the right shape or none, and its sections are pieces of it.

#![no_main]

use jury_grm::domain::{Finish, Issue};
use jury_grm::parse::parse_free;
use jury_grm_fuzz::Case;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case<'_>| {
    let (text, n_shown, scale) = (case.text(), case.n_shown(), case.scale());
    let parsed = parse_free(&text, n_shown, scale, Finish::EndOfText);
    assert!(text.contains(&parsed.principles), "principles that nobody wrote");
    assert!(text.contains(&parsed.critique), "a critique that nobody wrote");
    let Some(scores) = parsed.scores() else { return };
    assert_eq!(scores.scores.len(), n_shown);
    for &score in &scores.scores {
        assert!(scale.contains(score) && score.fract() == 0.0, "{score} is no score");
        assert!(text.contains(&format!("{score}")), "{score} was never written");
    }
    if parsed.issues.contains(&Issue::BoxOutsideScores) {
        let has_heading = text.lines().any(|line| line.trim_end() == "Scores:");
        assert!(!has_heading, "a box before the heading stood in for the scores");
    }
});
