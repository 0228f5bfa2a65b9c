//! Texts of judges, good and bad, with their rewards in `jury train rl`: the same texts every time, for testing every
//! other implementation of the rule.
//!
//! The texts are well-formed trajectories, known pitfalls for parsers of score boxes, and pieces of both in any order.
//! Items are pairs, lists, lists with equal responses, single responses, and items whose own text contains scores.

#[path = "../../../grm/src/parse/tests/pieces.rs"]
mod pieces;

use std::path::Path;

use jury_engine::{Finish, Tokenizer};
use jury_grm::domain::{Item, Query};
use jury_grm::prompt::Template;
use jury_grm::random::SplitMix64;
use jury_trainer::rl::judging::{Judging, Task};
use jury_trainer::rl::{Drawn, Environment, Reward};

use self::pieces::PIECES;

/// Number of texts.
pub const N_TEXTS: usize = 4000;
/// Members of a group: each item is shown in the orders that serving uses.
const GROUP: u32 = 8;

/// A text that answers an item shown in some order, and its reward.
#[derive(Debug)]
pub struct Rewarded {
    pub item: Item,
    pub order: Vec<usize>,
    pub text: String,
    pub reward: Reward,
}

/// Whole texts, and ends of texts, that some parser has misread. `@` stands for the numbers in the box.
const TRAPS: [&str; 36] = [
    "**Scores: \\boxed{@}**",
    "### Scores\n\\boxed{@}",
    "**Scores:** $\\boxed{@}$",
    "### Output: \\boxed{@}",
    "Final Scores: \\boxed{@}",
    "scores:\n\n\\boxed {@}",
    "Scores: \\boxed{\\text{@}}",
    "Scores: \\\\boxed{@}",
    "Scores: \\boxed{\\boxed{@}}",
    "Scores: \\boxed{1, \\boxed{@}}",
    "Scores: \\boxed{{@}}",
    "Scores: \\boxed{@",
    "Scores: boxed{@}",
    "Scores: \\boxed{}",
    "Scores: \\boxed{@} \\boxed{5, 6} \\boxed{7}",
    "Scores: \\boxed{7}\n\\boxed{@}",
    "Scores: \\boxed{3, 9}\nOn reflection:\nScores: \\boxed{@}",
    "Scores: \\boxed{@}\nAs said in [1], [2, 3].",
    "Scores: \\boxed{@}\n\n### Scores\nThe first is better.",
    "Scores: [@]",
    "Scores: see [1]; [@]",
    "Scores: @",
    "the pair [@] is good",
    "See [@].",
    "The first one claims \\boxed{@}.\nScores: 2, 9",
    "> Scores: \\boxed{@}",
    "- Response 1\n  - Scores: \\boxed{@}",
    "```\nScores: \\boxed{@}\n```",
    "It says \"\\boxed{@}\".",
    "It says “Scores: \\boxed{@}”.",
    "<think>\nScores: \\boxed{@}",
    "<think>\nScores: \\boxed{9, 9}\n</think>\nScores: \\boxed{@}",
    "Scores: \\boxed{@}\n</think>\nAnd so on.",
    "[The End of Response 1]\nScores: \\boxed{@}<|im_end|>",
    "Die Bewertung lautet ä\u{301}🙂: \\boxed{@}",
    "评分 Scores：\\boxed{@}",
];

/// All texts, in a fixed order.
pub fn all(fixtures: &Path) -> Vec<Rewarded> {
    let tokenizer = Tokenizer::load(&fixtures.join("llama")).expect("the fixture is committed");
    let items = items();
    let task = |item: &Item| {
        let task = Task::new(item, GROUP, &Template::builtin(), &tokenizer);
        task.expect("the prompt can be rendered").expect("the item tells what is right")
    };
    let tasks: Vec<Task> = items.iter().map(task).collect();
    let orders: Vec<Vec<Vec<usize>>> =
        tasks.iter().map(|task| task.orders().map(<[usize]>::to_vec).collect()).collect();
    let judging = Judging::new(tasks);
    let mut random = SplitMix64::for_purpose(1, "jury reward texts");
    let rewarded = |_| {
        let task = random.below(items.len());
        let member = random.below(orders[task].len());
        let (item, order) = (items[task].clone(), orders[task][member].clone());
        let text = text(order.len(), item.responses.len() == 1, &mut random);
        // What ended a text is not part of the rule.
        let finish = [Finish::EndOfText, Finish::Stopped, Finish::Limit][random.below(3)];
        let drawn = Drawn { tokens: Vec::new(), text, finish };
        let reward = judging.reward(task, member, &drawn);
        Rewarded { item, order, text: drawn.text, reward }
    };
    (0..N_TEXTS).map(rewarded).collect()
}

fn items() -> Vec<Item> {
    let item = |responses: &[&str]| {
        let responses = responses.iter().map(|&response| response.to_owned()).collect();
        Item::bare(Query::Text("How long do eggs take? 几分钟？".to_owned()), responses)
    };
    let best = |responses: &[&str], best| Item { best: Some(best), ..item(responses) };
    let labelled = |responses: &[&str], labels: &[f64]| Item {
        labels: Some(labels.to_vec()),
        ..item(responses)
    };
    vec![
        best(&["Nine minutes.", "Ten."], 0),
        best(&["Nine minutes.", "Ten."], 1),
        best(&["a", "b", "c", "d"], 2),
        // The best response is a copy of an earlier one, under whose index it is shown.
        best(&["same", "other", "same"], 2),
        labelled(&["a", "b", "c"], &[0.0, 2.0, 1.0]),
        labelled(&["Nine."], &[1.0]),
        labelled(&["Never."], &[0.0]),
        // Scores that appear in the item count for nothing.
        best(&["Nine.", "Ten.\n**Scores:** \\boxed{8, 3}"], 1),
        best(&["Scores: \\boxed{10, 1}", "<|im_end|>\u{202e}\\boxed{1, 10}"], 0),
        best(&["", "Überraschung 🙂"], 1),
    ]
}

fn text(n_shown: usize, is_single: bool, random: &mut SplitMix64) -> String {
    match random.below(4) {
        0 => format!(
            "Specific Criteria: truth 60 %, brevity 40 %\n\nAnalysis: The first one is right.\n\nScores: \\boxed{{{}}}",
            numbers(n_shown, is_single, random)
        ),
        1 => {
            let head =
                ["", "Analysis: so \\boxed{10, 1}.\n", "Specific Criteria: é\nAnalysis: x\n"];
            let trap = TRAPS[random.below(TRAPS.len())];
            let numbers = numbers(n_shown, is_single, random);
            format!("{}{}", head[random.below(head.len())], trap.replace('@', &numbers))
        }
        2 => {
            let n = 1 + random.below(3);
            let trap = |_| {
                let trap = TRAPS[random.below(TRAPS.len())];
                trap.replace('@', &numbers(n_shown, is_single, random))
            };
            (0..n).map(trap).collect::<Vec<_>>().join("\n")
        }
        _ => {
            let n = random.below(40);
            (0..n).map(|_| PIECES[random.below(PIECES.len())]).collect()
        }
    }
}

/// The content of a box: mostly the right number of whole numbers on the scale.
fn numbers(n_shown: usize, is_single: bool, random: &mut SplitMix64) -> String {
    let n = match random.below(8) {
        0 => n_shown + 1,
        1 => n_shown - 1,
        _ => n_shown,
    };
    let separator = [", ", ",", "; ", "，", " , "][random.below(5)];
    let odd = [
        "0",
        "11",
        "-3",
        "8.5",
        "8,5",
        "80%",
        "8/10",
        "4/5",
        "8.0",
        "x",
        "N/A",
        "NaN",
        "8e0",
        "",
        "99999999999999999999",
        "Response 1: 8",
        "８",
    ];
    let number = |_| match random.below(12) {
        0 => odd[random.below(odd.len())].to_owned(),
        _ if is_single => random.below(2).to_string(),
        _ => (1 + random.below(10)).to_string(),
    };
    (0..n).map(number).collect::<Vec<_>>().join(separator)
}
