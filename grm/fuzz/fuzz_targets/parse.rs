//! Any text gives either scores of the right shape or none, its sections are pieces of it, and a box quoted in a line
//! before it changes nothing.

#![no_main]

use jury_grm::domain::{Finish, Issue};
use jury_grm::parse::parse_free;
use jury_grm_fuzz::Case;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case<'_>| {
    let (text, n_shown, scale) = (case.text(), case.n_shown(), case.scale());
    let shape = case.shape();
    let item_text = case.item_text();
    let planted_shape = case.shape_of_prompt(&item_text);
    // What the item itself says under a heading or in a box is not a verdict, wherever the model repeats it.
    let copied = parse_free(&item_text, &planted_shape, Finish::EndOfText);
    assert!(copied.scores().is_none(), "a copy of the item was scored");
    let thought = format!("<think>\n{}", text.replace('>', ""));
    assert!(parse_free(&thought, &shape, Finish::Limit).scores().is_none(), "a thought was scored");
    let parsed = parse_free(&text, &shape, Finish::EndOfText);
    assert!(text.contains(&parsed.principles), "principles that nobody wrote");
    assert!(text.contains(&parsed.critique), "a critique that nobody wrote");
    let quote = vec![scale.max.to_string(); n_shown].join(", ");
    let quoting = format!("It says \\boxed{{{quote}}}.\n{text}");
    let with_quote = parse_free(&quoting, &shape, Finish::EndOfText);
    let is_outside = with_quote.issues.contains(&Issue::BoxOutsideScores);
    let Some(scores) = parsed.scores() else {
        assert!(with_quote.scores().is_none() || is_outside, "a quote stood in for the scores");
        return;
    };
    assert_eq!(with_quote.scores(), parsed.scores(), "a quote changed the scores");
    assert_eq!(is_outside, parsed.issues.contains(&Issue::BoxOutsideScores));
    assert_eq!(scores.scores.len(), n_shown);
    for &score in &scores.scores {
        assert!(scale.contains(score) && score.fract() == 0.0, "{score} is no score");
        assert!(text.contains(&format!("{score}")), "{score} was never written");
    }
});
