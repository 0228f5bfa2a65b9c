//! A weakness report as Markdown. Untrusted text is shown literally.

use std::fmt::Write;

use super::{Example, Group, Subject, Weakness};
use crate::markdown::{cell, excerpt};

/// Groups whose examples are shown.
const MOST_SHOWN: usize = 8;
const QUERY_SIGNS: usize = 240;
const CRITIQUE_SIGNS: usize = 400;

/// The report as Markdown.
pub fn markdown(weakness: &Weakness) -> String {
    let mut out = String::new();
    let Weakness { model, n_samples, n_queries, loss, interval, least, .. } = weakness;
    let (title, lost) = match weakness.subject {
        Subject::Judge => (cell(model), "are wrong: the best response is not strictly highest"),
        Subject::Response(response) => (
            format!("response {}, judged by {},", response + 1, cell(model)),
            "are lost: another response is scored strictly higher",
        ),
    };
    line(&mut out, &format!("# What {title} loses on\n"));
    let share = loss.map_or_else(|| "-".to_owned(), |loss| percent(loss, *interval));
    line(
        &mut out,
        &format!(
            "{share} % of {n_samples} samples on {n_queries} queries {lost}. Of {} more samples nothing tells, \
             and {} name no principle. Listed is what has at least {} samples on {} queries; intervals are by query.\n",
            weakness.n_unknown, weakness.n_without_principles, least.samples, least.queries,
        ),
    );
    line(
        &mut out,
        "A theme is a word in the name of a principle that the judge wrote for the item. Lift is the loss rate over that of all samples. Marked rows (*) have \
         their whole interval above it, which one in forty has by chance.\n",
    );
    table(&mut out, "By theme of principles", &weakness.themes);
    table(&mut out, "By source and category", &weakness.categories);
    for (title, groups) in [("Themes", &weakness.themes), ("Categories", &weakness.categories)] {
        let above = |group: &&Group| group.lift.is_some_and(|lift| lift > 1.0);
        for group in groups.iter().filter(above).take(MOST_SHOWN) {
            examples(&mut out, title, group);
        }
    }
    out
}

fn table(out: &mut String, title: &str, groups: &[Group]) {
    line(out, &format!("## {title}\n"));
    if groups.is_empty() {
        line(out, "Nothing has enough samples.\n");
        return;
    }
    line(out, "| | samples | queries | loss, % (95 % interval) | lift |");
    line(out, "|---|---|---|---|---|");
    for group in groups {
        let mark = if group.stands_out { " (*)" } else { "" };
        let lift = group.lift.map_or_else(|| "-".to_owned(), |lift| format!("{lift:.2}"));
        let loss = percent(group.loss, group.interval);
        let Group { name, n_samples, n_queries, .. } = group;
        line(
            out,
            &format!("| {}{mark} | {n_samples} | {n_queries} | {loss} | {lift} |", cell(name)),
        );
    }
    line(out, "");
}

fn examples(out: &mut String, title: &str, group: &Group) {
    line(out, &format!("### {title}: {}\n", cell(&group.name)));
    for Example { item_id, index, query, scores, best, labels, critique, .. } in &group.worst {
        let scores: Vec<String> = scores
            .iter()
            .map(|score| score.map_or_else(|| "-".to_owned(), |score| format!("{score:.1}")))
            .collect();
        let truth = match (best, labels) {
            (Some(best), _) => format!("best is response {}", best + 1),
            (None, Some(labels)) => format!("labels are {labels:?}"),
            (None, None) => "nothing is known".to_owned(),
        };
        let truth = cell(&truth);
        line(
            out,
            &format!("* **{}**, sample {index}: {}", cell(item_id), excerpt(query, QUERY_SIGNS)),
        );
        line(out, &format!("  * scores {}; {truth}", cell(&scores.join(", "))));
        line(out, &format!("  * {}", excerpt(critique, CRITIQUE_SIGNS)));
    }
    line(out, "");
}

fn percent(value: f64, interval: Option<[f64; 2]>) -> String {
    let value = 100.0 * value;
    match interval.map(|interval| interval.map(|end| 100.0 * end)) {
        Some([low, high]) => format!("{value:.1} ({low:.1} to {high:.1})"),
        None => format!("{value:.1}"),
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a text takes any line");
}
