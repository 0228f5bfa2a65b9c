use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::{Item, Query, limits};

fn request(responses: &[&str], k: u32) -> ScoreRequest {
    let item = Item {
        id: "id".into(),
        source: None,
        query: Query::Text("Which is best?".into()),
        responses: responses.iter().map(|&text| text.to_owned()).collect(),
        reference: None,
        criteria: None,
        principles: None,
        best: None,
        labels: None,
        category: None,
    };
    let mut request = ScoreRequest::new(item);
    request.settings.k = k;
    request
}

fn numbered(n: usize, k: u32) -> ScoreRequest {
    let texts: Vec<String> = (0..n).map(|i| format!("response {i}")).collect();
    request(&texts.iter().map(String::as_str).collect::<Vec<_>>(), k)
}

fn seeds(request: &ScoreRequest) -> Vec<u64> {
    plan(request).samples.iter().map(|spec| spec.seed).collect()
}

#[test]
fn two_responses_alternate() {
    let orders: Vec<_> = plan(&numbered(2, 4)).samples.into_iter().map(|spec| spec.order).collect();
    assert_eq!(orders[0], orders[2]);
    assert_eq!(orders[1], orders[3]);
    assert_eq!(orders[0], [orders[1][1], orders[1][0]]);
}

#[test]
fn identical_responses_are_shown_once_and_an_empty_one_is_shown() {
    let plan = plan(&request(&["a", "", "a", ""], 3));
    assert_eq!(plan.duplicate_of, [0, 1, 0, 1]);
    for spec in &plan.samples {
        assert_eq!(BTreeSet::from_iter(spec.order.clone()), BTreeSet::from([0, 1]));
    }
}

#[test]
fn a_single_response_is_shown_in_every_sample() {
    assert!(plan(&request(&["only"], 4)).samples.iter().all(|spec| spec.order == [0]));
}

#[test]
fn neither_id_nor_labels_nor_best_change_the_plan() {
    let plain = numbered(3, 8);
    let mut labelled = plain.clone();
    labelled.item.id = "another".into();
    labelled.item.source = Some("elsewhere".into());
    labelled.item.category = Some("hard".into());
    labelled.item.best = Some(2);
    labelled.item.labels = Some(vec![0.0, 0.5, 1.0]);
    assert_eq!(plan(&plain), plan(&labelled));
}

#[test]
fn spares_go_on_where_the_samples_end() {
    let mut request = numbered(3, 4);
    request.voting.refill = 3;
    let with_spares = plan(&request);
    assert_eq!(with_spares.samples, plan(&numbered(3, 4)).samples);
    assert_eq!(with_spares.spares, plan(&numbered(3, 7)).samples[4..]);
}

#[test]
fn what_is_rendered_changes_every_seed() {
    let plain = numbered(2, 8);
    let mut others = vec![plain.clone(); 5];
    others[0].item.query = Query::Text("Which is worst?".into());
    others[1].item.reference = Some("the truth".into());
    others[2].item.responses[1].push('!');
    others[3].item.criteria = Some(vec!["be brief".into()]);
    others[4].seed = 1;
    for other in others {
        let (plain, other) = (seeds(&plain), seeds(&other));
        assert!(plain.iter().all(|seed| !other.contains(seed)));
    }
}

#[test]
fn parts_do_not_run_together() {
    let (mut left, mut right) = (numbered(1, 1), numbered(1, 1));
    left.item.criteria = Some(vec!["ab".into(), "c".into()]);
    right.item.criteria = Some(vec!["a".into(), "bc".into()]);
    assert_ne!(plan(&left).content, plan(&right).content);
}

proptest! {
    #[test]
    fn every_block_shows_every_response_once_in_every_position(n in 1usize..9, blocks in 1u32..4) {
        let plan = plan(&numbered(n, n as u32 * blocks));
        for block in plan.samples.chunks(n) {
            for position in 0..n {
                let there: BTreeSet<_> = block.iter().map(|spec| spec.order[position]).collect();
                prop_assert_eq!(there.len(), n);
            }
        }
        let orders: BTreeSet<_> = plan.samples.iter().map(|spec| &spec.order).collect();
        prop_assert!(orders.len() <= n);
        prop_assert_eq!(plan.block as usize, n);
    }

    #[test]
    fn panels_show_every_response_equally_often(
        n in 2usize..65, max_panel in 2u32..9, rounds in 1u32..4,
    ) {
        let n_panels = n.div_ceil(max_panel as usize) as u32;
        prop_assume!(n_panels > 1 && n_panels * rounds <= limits::MAX_K);
        let mut request = numbered(n, n_panels * rounds);
        request.settings.max_panel = max_panel;
        let mut shown: BTreeMap<usize, u32> = BTreeMap::new();
        prop_assert_eq!(plan(&request).block, n_panels);
        for spec in plan(&request).samples {
            prop_assert!(spec.order.len() <= max_panel as usize && !spec.order.is_empty());
            let distinct: BTreeSet<_> = spec.order.iter().collect();
            prop_assert_eq!(distinct.len(), spec.order.len());
            spec.order.iter().for_each(|&response| *shown.entry(response).or_default() += 1);
        }
        prop_assert_eq!(shown, (0..n).map(|response| (response, rounds)).collect());
    }

    #[test]
    fn seeds_are_below_2_to_53_and_differ(k in 1u32..=limits::MAX_K, seed in 0..limits::MAX_SEED) {
        let mut request = numbered(2, k);
        request.seed = seed;
        let seeds = seeds(&request);
        prop_assert!(seeds.iter().all(|&seed| seed <= limits::MAX_SEED));
        prop_assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), k as usize);
    }
}

proptest! {
    #[test]
    fn an_extent_tells_the_prompts_of_the_plan(n in 1usize..12, k in 1u32..40, max_panel in 2u32..12) {
        let mut request = numbered(n, k);
        request.item.responses.push("response 0".to_owned());
        request.settings.max_panel = max_panel;
        let Extent { n_prompts, n_samples, n_shown, shown_bytes, panel } = extent(&request);
        let distinct: BTreeSet<_> = request.item.responses.iter().collect();
        prop_assert_eq!(shown_bytes, distinct.into_iter().map(|text| text.len() as u64).sum::<u64>());
        let planned = plan(&request).samples;
        prop_assert_eq!(n_samples as usize, planned.len());
        let orders: BTreeSet<_> = planned.into_iter().map(|spec| spec.order).collect();
        let longest = orders.iter().map(Vec::len).max().unwrap();
        prop_assert_eq!(n_shown as usize, n);
        prop_assert!(longest <= panel as usize && panel <= max_panel.max(n_shown.min(max_panel)));
        prop_assert!(orders.len() <= n_prompts as usize);
        if n_shown <= max_panel {
            prop_assert_eq!(orders.len(), n_prompts as usize);
        }
    }
}
