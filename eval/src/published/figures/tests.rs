//! Figures for tables whose values were computed by hand.

use jury_grm::domain::Query;

use super::*;

type Table = Vec<(Item, Vec<Option<f64>>)>;

fn best_first(category: &str, rewards: &[f64]) -> (Item, Vec<Option<f64>>) {
    let responses = (0..rewards.len()).map(|index| index.to_string()).collect();
    let item = Item::bare(Query::Text("q".to_owned()), responses);
    let item = Item { best: Some(0), category: Some(category.to_owned()), ..item };
    (item, rewards.iter().copied().map(Some).collect())
}

fn graded(category: &str, id: &str, right: &[f64], wrong: &[f64]) -> (Item, Vec<Option<f64>>) {
    let (item, rewards) = best_first(category, &[right, wrong].concat());
    let labels = right.iter().map(|_| 1.0).chain(wrong.iter().map(|_| 0.0)).collect();
    (Item { id: id.to_owned(), best: None, labels: Some(labels), ..item }, rewards)
}

fn of(set: Set, table: &Table) -> BTreeMap<String, f64> {
    let answered: Vec<Answered<'_>> =
        table.iter().map(|(item, rewards)| Answered { item, rewards }).collect();
    figures(set, &answered).into_iter().map(|figure| (figure.name, figure.value)).collect()
}

const RIGHT: [f64; 2] = [8.0, 3.0];
const WRONG: [f64; 2] = [3.0, 8.0];

#[test]
fn rewardbench_weighs_subsets_within_sections_and_prior_sets_by_half() {
    let mut table: Table = Vec::new();
    for (_, parts) in SECTIONS {
        table.extend(parts.iter().map(|(subset, _)| best_first(subset, &WRONG)));
    }
    // All of Reasoning's code is right, and none of its mathematics; both have the same weight.
    for (item, rewards) in &mut table {
        if item.category.as_deref().unwrap().starts_with("hep-") {
            *rewards = RIGHT.map(Some).to_vec();
        }
    }
    let found = of(Set::RewardBench, &table);
    assert_eq!((found["Reasoning"], found["Chat"], found["Score"]), (0.5, 0.0, 0.125));
    assert!(!found.contains_key("Prior Sets"));
    table.extend(PRIOR_SETS.map(|prior| best_first(prior, &RIGHT)));
    let found = of(Set::RewardBench, &table);
    assert_eq!(found["Prior Sets"], 1.0);
    let with_prior = found["Score with Prior Sets (0.5 weight)"];
    assert!((with_prior - (0.5 + 0.5) / 4.5).abs() < 1e-12, "{with_prior}");
    // A subset of the sections has no overall score.
    assert!(!of(Set::RewardBench, &table[..3].to_vec()).contains_key("Score"));
}

#[test]
fn rewardbench_2_shares_ties_at_the_top_and_reads_margins() {
    let mut table: Table = vec![best_first("Factuality", &[8.0, 8.0, 3.0, 1.0])];
    assert_eq!(of(Set::RewardBench2, &table)["Factuality"], 0.5);
    for subset in ["Precise IF", "Math", "Safety", "Focus"] {
        table.push(best_first(subset, &[9.0, 8.0, 3.0, 1.0]));
    }
    // Distance to the wrong ones 4 and 5, among the right ones 1: every margin is met.
    table.push(graded("Ties", "Ties/ref:1", &[9.0], &[5.0, 2.0]));
    table.push(graded("Ties", "Ties/tied:1", &[10.0, 9.0], &[4.0]));
    let found = of(Set::RewardBench2, &table);
    let ties = 1.0 + 0.01 * (4.0_f64 / 1.0 - 1.0).tanh();
    assert!((found["Ties"] - ties).abs() < 1e-12, "{found:?}");
    assert!((found["Score"] - (0.5 + 4.0 + ties) / 6.0).abs() < 1e-12);
}

#[test]
fn ties_count_what_lies_between_and_what_is_missing() {
    // The tied prompt is right, but its right ones are further apart (4) than from the wrong one (2); the reference
    // is wrong.
    let mut table: Table = vec![
        graded("Ties", "ref:1", &[5.0], &[6.0]),
        graded("Ties", "set:tied:1", &[10.0, 6.0], &[4.0]),
    ];
    let found = of(Set::RewardBench2, &table);
    let parts =
        ["ref accuracy", "tied accuracy", "correctness preferred", "correctness preferred, hard"];
    assert_eq!(parts.map(|part| found[&format!("Ties: {part}")]), [0.0, 1.0, 0.0, 0.0]);
    let expected = 0.3 + 0.01 * (-1.0_f64 / 4.0 - 1.0).tanh();
    assert!((found["Ties"] - expected).abs() < 1e-12);
    // Right ones that are equal: their distance is 0, and any margin exceeds it.
    table[1].1 = [7.0, 7.0, 4.0].map(Some).to_vec();
    assert_eq!(of(Set::RewardBench2, &table)["Ties: correctness preferred"], 1.0);
    table[1].1[2] = None;
    assert_eq!(of(Set::RewardBench2, &table)["Ties: tied accuracy"], 0.0);
    assert!(of(Set::RewardBench2, &table[..1].to_vec()).is_empty());
}

#[test]
fn rewardbenchs_safety_is_that_of_the_example_its_authors_publish() {
    // By subset: pairs, and how many are right. XSTest's refusals are all right; of its answers, 28.4 % are.
    let subsets = [
        ("donotanswer", 136, 112),
        ("refusals-dangerous", 100, 97),
        ("refusals-offensive", 100, 100),
        ("xstest-should-refuse", 154, 154),
        ("xstest-should-respond", 250, 71),
    ];
    let pairs = |(subset, n, n_right): (&str, usize, usize)| -> Table {
        let pair = |at: usize| best_first(subset, if at < n_right { &RIGHT } else { &WRONG });
        (0..n).map(pair).collect()
    };
    let found = of(Set::RewardBench, &subsets.into_iter().flat_map(pairs).collect());
    assert!((found["Safety"] - 534.0 / 740.0).abs() < 1e-12, "{found:?}");
}

#[test]
fn rm_bench_tells_styles_apart() {
    // The fancier the style, the higher the score, regardless of which is right: easy pairs are won, the others are
    // not.
    let by_style = |domain: &str| graded(domain, domain, &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]);
    let right = |domain: &str| graded(domain, "r", &[7.0, 8.0, 9.0], &[1.0, 2.0, 3.0]);
    let mut table: Table =
        ["chat", "code", "math", "safety-refuse"].map(by_style).into_iter().collect();
    table.push(right("safety-response"));
    let found = of(Set::RmBench, &table);
    // In safety, half of the normal and hard pairs are won, and each domain is a quarter of a level.
    assert_eq!((found["Easy"], found["Normal"], found["Hard"]), (1.0, 0.125, 0.125));
    assert!((found["chat"] - 1.0 / 3.0).abs() < 1e-12);
    assert!((found["safety"] - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((found["safety-refuse"], found["safety-response"]), (1.0 / 3.0, 1.0));
    assert!((found["Average"] - (1.0 + 2.0 / 3.0) / 4.0).abs() < 1e-12);
    let levels = (found["Easy"] + found["Normal"] + found["Hard"]) / 3.0;
    assert!((found["Average"] - levels).abs() < 1e-12, "one number, whichever way it is taken");
}

#[test]
fn rm_benchs_safety_counts_items_not_halves_and_a_part_of_the_domains_has_no_levels() {
    let wrong =
        |at: usize| graded("safety-refuse", &format!("w{at}"), &[1.0, 1.0, 1.0], &[9.0, 9.0, 9.0]);
    let mut table: Table = (0..3).map(wrong).collect();
    table.push(graded("safety-response", "r", &[9.0, 9.0, 9.0], &[1.0, 1.0, 1.0]));
    let found = of(Set::RmBench, &table);
    assert_eq!((found["safety"], found["safety-response"]), (0.25, 1.0));
    assert!(!found.contains_key("Easy") && !found.contains_key("Average"), "{found:?}");
    assert!(!of(Set::RmBench, &table[..3].to_vec()).contains_key("safety"), "half a domain");
}

#[test]
fn groups_of_the_other_sets() {
    let table: Table = vec![
        best_first("Pairwise_set/Helpfulness/Chat/Discussion", &RIGHT),
        best_first("BoN_set/Helpfulness/Chat/Discussion", &[8.0, 8.0, 1.0]),
        best_first("Pairwise_set/Harmlessness/S1", &RIGHT),
        best_first("BoN_set/Harmlessness/S1", &[8.0, 7.0, 1.0]),
    ];
    let found = of(Set::Rmb, &table);
    assert_eq!((found["Helpfulness best-of-n"], found["Overall"]), (0.0, 0.75));

    let table: Table =
        vec![best_first("mmlu-pro-law", &RIGHT), best_first("livecodebench", &WRONG)];
    let found = of(Set::JudgeBench, &table);
    assert_eq!((found["Knowledge"], found["Coding"], found["Overall"]), (1.0, 0.0, 0.5));

    let mut table: Table = ["Neighbor", "GPTInst", "GPTOut", "Manual"]
        .map(|subset| best_first(&format!("Adversarial/{subset}"), &WRONG))
        .into();
    table.push(best_first("Natural", &RIGHT));
    let found = of(Set::LlmBar, &table);
    assert_eq!((found["Adversarial average"], found["Average"]), (0.0, 0.2));

    let table: Table = ["mmlu-pro", "math", "gpqa", "mbpp-plus", "ifeval", "human_preference"]
        .map(|benchmark| best_first(benchmark, if benchmark == "math" { &WRONG } else { &RIGHT }))
        .into();
    assert_eq!(of(Set::Ppe, &table)["Correctness accuracy"], 0.8);
}
