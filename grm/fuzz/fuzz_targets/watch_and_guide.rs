//! Where the watch fires, the parser finds scores, however the text is split and whatever is quoted before it; and the
//! parser can read what the guide writes.

#![no_main]

use jury_grm::domain::{Finish, Issue};
use jury_grm::guide::{CLOSING, CritiqueWatch, SEPARATOR, opening};
use jury_grm::parse::{Begins, ScoreBoxWatch, parse_free};
use jury_grm_fuzz::Case;
use libfuzzer_sys::fuzz_target;

/// Longest text; every prefix is checked.
const MAX_TEXT_BYTES: usize = 4096;

fuzz_target!(|case: Case<'_>| {
    let (text, n_shown, scale) = (case.text(), case.n_shown(), case.scale());
    if text.len() > MAX_TEXT_BYTES {
        return;
    }
    let quote = vec![scale.max.to_string(); n_shown].join(SEPARATOR);
    let quoting = format!("It says \\boxed{{{quote}}}.\n{text}");
    assert_eq!(
        ScoreBoxWatch::new(case.shape()).look(&quoting),
        ScoreBoxWatch::new(case.shape()).look(&text),
        "a quote matters",
    );
    let mut watch = ScoreBoxWatch::new(case.shape());
    for end in text.char_indices().map(|(at, c)| at + c.len_utf8()) {
        let prefix = &text[..end];
        let has_fired = watch.look(prefix);
        assert_eq!(has_fired, ScoreBoxWatch::new(case.shape()).look(prefix), "pieces matter");
        if has_fired {
            let parsed = parse_free(prefix, &case.shape(), Finish::Box);
            assert!(parsed.scores().is_some(), "the watch saw a box that the parser does not");
            assert!(!parsed.issues.contains(&Issue::BoxOutsideScores));
            break;
        }
    }
    let has_ended = CritiqueWatch::default().look(&text);
    let appended = opening(&text, Begins::Plainly);
    assert!(!has_ended || !appended.contains("Scores"), "a heading was written twice");
    let whole = format!("{text}{appended}{quote}{CLOSING}");
    let parsed = parse_free(&whole, &case.shape(), Finish::Box);
    let scores = parsed.scores().expect("the guide's own score line is read");
    assert_eq!(scores.scores, vec![f64::from(scale.max); n_shown]);
});
