//! Random tables of scores.

use super::*;

#[derive(Debug, Clone)]
struct Case {
    setup: Setup,
    samples: Vec<Sample>,
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Mean),
        (1u32..20).prop_map(|k_meta| Rule::Top { k_meta }),
        Just(Rule::Majority),
        (0.5..3.0f64, 0.0..6.0f64)
            .prop_map(|(slope, intercept)| Rule::Weighted(Calibration { slope, intercept })),
    ]
}

/// Tables with a favourite, so that rules have a reason to fire.
fn case(stop: StopRule, rule: impl Strategy<Value = Rule>) -> impl Strategy<Value = Case> {
    let shape = (1usize..6, 2u32..6, 1u32..20, 0u32..4, 0.0..9.0f64);
    (shape, rule).prop_flat_map(move |((n, max_panel, k, refill, lead), rule)| {
        let settings = Settings { k, max_panel, ..Settings::default() };
        let voting = Voting { stop, refill: refill.min(k), ..Voting::default() };
        let setup = Setup::new(n, settings, voting, rule);
        let n_samples = setup.plan.samples.len() + setup.plan.spares.len();
        let score = (0u32..10).prop_map(f64::from);
        let row = prop::option::weighted(0.9, prop::collection::vec(score, n));
        let rows = prop::collection::vec(row, n_samples);
        let metas = prop::collection::vec((-4i8..5).prop_map(f64::from), n_samples);
        (Just(setup), rows, metas).prop_map(move |(setup, mut rows, metas)| {
            for row in rows.iter_mut().flatten() {
                row[0] += lead;
                row.iter_mut().for_each(|score| *score = (*score + 1.0).min(10.0));
            }
            let samples = setup.samples(&rows, &metas);
            Case { setup, samples }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn lossless_never_changes_the_pick(
        case in case(StopRule::Lossless, any_rule()), worst in any::<bool>(),
    ) {
        let Case { setup, mut samples } = case;
        let k = setup.plan.samples.len();
        let stop = setup.stop(&samples[..k]);
        if let Some(Stop { prefix, by }) = stop {
            prop_assert_eq!(by, StoppedBy::Lossless);
            let prefix = prefix as usize;
            let pick = setup.pick(&samples[..prefix]);
            if worst {
                // The remaining samples favour every other response as much as they can.
                let mut row = vec![10.0; setup.plan.duplicate_of.len()];
                row[pick.unwrap()] = 1.0;
                for late in &mut samples[prefix..] {
                    *late = sample(&late.spec, Some(&row), 9.0);
                }
            }
            let n_failed = samples[..k].iter().filter(|s| s.scores().is_none()).count();
            let n_spares = n_failed.min(setup.plan.spares.len());
            prop_assert_eq!(setup.pick(&samples[..k + n_spares]), pick);
        }
    }

    #[test]
    fn a_verdict_is_a_function_of_the_prefix_whatever_arrives_first(
        case in case(StopRule::Lossless, any_rule()), seed in any::<u64>(), drawn in any::<bool>(),
    ) {
        let Case { setup, samples } = case;
        let planned = &samples[..setup.plan.samples.len()];
        let mut in_order = Arrivals::new(setup.stopping());
        planned.iter().for_each(|sample| { in_order.push(sample.clone()); });
        // All planned samples have arrived: any that are drawn in addition are part of the verdict unless a rule has
        // fired.
        let next = setup.stopping().k();
        prop_assert_eq!(in_order.is_certain(next), in_order.clone().into_drawn().stop.is_none());
        let expected = in_order.into_drawn();
        let mut arrived = planned.to_vec();
        let mut random = SplitMix64::new(seed);
        random.shuffle(&mut arrived);
        let mut arrivals = Arrivals::new(setup.stopping());
        for sample in arrived {
            // Once it fires, the rest may or may not arrive.
            if arrivals.push(sample).is_some() && drawn {
                break;
            }
        }
        let got = arrivals.into_drawn();
        prop_assert_eq!(got.stop, expected.stop);
        prop_assert_eq!(&got.samples, &expected.samples);
        prop_assert_eq!(got.samples.len(), planned.len());
        if let Some(Stop { prefix, .. }) = got.stop {
            prop_assert_eq!(prefix % setup.plan.block, 0);
            prop_assert_eq!(&got.samples[..prefix as usize], &planned[..prefix as usize]);
        }
    }

    #[test]
    fn confidence_never_needs_more_than_certainty(
        (n, rows) in (2usize..5).prop_flat_map(|n| {
            let row = prop::collection::vec((1u32..11).prop_map(f64::from), n);
            let row = prop::option::weighted(0.9, row);
            (Just(n), prop::collection::vec(row, n..24))
        }),
        level in 0.51..0.99f64,
        lead in 0.0..9.0f64,
    ) {
        let k = rows.len();
        let leading = |mut row: Vec<f64>| {
            row[0] = (row[0] + lead).min(10.0);
            row
        };
        let rows: Vec<Row> = rows.into_iter().map(|row| row.map(leading)).collect();
        let mut setup = Setup::plain(n, k as u32, StopRule::Lossless, Rule::Mean);
        let samples = setup.samples(&rows, &vec![0.0; k]);
        let certain = replay(&samples, &setup.stopping());
        setup.request.voting.stop = StopRule::Confidence(level);
        prop_assert!(replay(&samples, &setup.stopping()).prefix <= certain.prefix);
    }
}
