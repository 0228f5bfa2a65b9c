use jury_grm::domain::{FailureKind, Query, SampleSpec};
use proptest::prelude::*;

use super::*;

/// A case whose critique has this many bytes.
fn case(n_bytes: usize) -> Case {
    let spec = SampleSpec { index: 0, seed: 0, order: vec![0] };
    let sample =
        Sample { critique: "c".repeat(n_bytes), ..Sample::failed(spec, FailureKind::NoBox, "") };
    Case {
        item: Item::bare(Query::Text("q".to_owned()), vec!["a".to_owned()]),
        verdict: verdict(vec![sample]),
    }
}

fn verdict(samples: Vec<Sample>) -> Verdict {
    let json = r#"{"item_id": "i", "status": "OK", "rewards": [1.0], "reasons": [null], "pick": null, "tied": [],
        "confidence": null, "agreement": null, "stopped_by": "complete",
        "counts": {"asked": 1, "valid": 1, "voted": 1, "forced": 0, "parse_failed": 0, "timed_out": 0, "failed": 0,
                   "not_needed": 0},
        "usage": {"prompt_tokens": 0, "generated_tokens": 0},
        "provenance": {"model": null, "model_digest": null, "numerics": null, "method_digest": "m", "meta_digest": null,
                       "seed": 0, "settings": {}, "escaped_markers": 0, "reproducible": "NONE", "version": "v"},
        "run": {"request_id": "r", "queue_ms": 0, "total_ms": 0, "cached_tokens": 0, "wasted_tokens": 0,
                "reissued": 0, "hedged": 0, "workers": []}}"#;
    Verdict { samples: Some(samples), ..serde_json::from_str(json).unwrap() }
}

fn figures(number: u64) -> Figures {
    let request = ScoreRequest::new(Item::bare(Query::Text("q".to_owned()), vec!["a".to_owned()]));
    Figures::of(RequestNumber(number), &request, &verdict(Vec::new()), SystemTime::UNIX_EPOCH)
}

proptest! {
    #[test]
    fn the_newest_texts_are_kept_within_both_limits(
        verdicts in 0_usize..6,
        bytes in 0_usize..20_000,
        sizes in prop::collection::vec(0_usize..12_000, 1..40),
    ) {
        let mut shelf = Shelf::new(Limits { verdicts, bytes });
        for (number, size) in std::iter::zip(0.., &sizes) {
            shelf.put(figures(number), Some(case(*size)));
            let kept = shelf.entries.iter().filter_map(|entry| entry.case.as_ref());
            let (n_cases, n_bytes) = kept.fold((0, 0), |(n, sum), (_, bytes)| (n + 1, sum + bytes));
            prop_assert_eq!((n_cases, n_bytes), (shelf.n_cases, shelf.n_bytes));
            prop_assert!(n_cases <= verdicts && n_bytes <= bytes);
        }
        // Of the cases that fit at all, the newest ones are kept, without a gap.
        let fits = |size: usize| case(size).n_bytes() <= bytes;
        let newest_first = shelf.newest_first();
        let fitting = std::iter::zip(&newest_first, sizes.iter().rev()).filter(|(_, size)| fits(**size));
        let is_kept: Vec<bool> = fitting.map(|((_, is_kept), _)| *is_kept).collect();
        prop_assert!(is_kept.is_sorted_by(|newer, older| newer >= older), "{:?}", is_kept);
    }

    #[test]
    fn figures_outlive_texts_and_are_bounded_too(n_verdicts in 0_u64..250, verdicts in 0_usize..150) {
        let mut shelf = Shelf::new(Limits { verdicts, bytes: 1 << 30 });
        (0..n_verdicts).for_each(|number| shelf.put(figures(number), Some(case(1))));
        let known = shelf.newest_first();
        prop_assert_eq!(known.len() as u64, n_verdicts.min(RECENT.max(verdicts) as u64));
        prop_assert_eq!(shelf.n_cases as u64, n_verdicts.min(verdicts as u64));
        prop_assert!(known.iter().map(|(figures, _)| figures.number.0).eq((0..n_verdicts).rev().take(known.len())));
    }
}
