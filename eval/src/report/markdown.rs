//! A report as tables for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Category, Cell, Report};
use crate::markdown::cell as cell_text;
use crate::published::{Figure, SetReport};

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let about = &report.about;
    let model = about.model.as_deref().unwrap_or("unknown");
    line(&mut out, &format!("# How accuracy grows with k: {model}\n"));
    line(
        &mut out,
        &format!(
            "{} items of {} queries from `{}`; {} have no known best, {} are not judged yet, {} were not drawn whole. \
             {:.1} % of the samples gave no scores. {}An item took {:.0} prompt tokens, {:.0} generated tokens and {:.1} s.\n",
            report.n_items,
            report.n_queries,
            about.items,
            report.left_out.without_truth,
            report.left_out.not_judged,
            report.left_out.not_drawn,
            100.0 * report.parse_failed,
            drawn_in(&about.numerics),
            report.cost.prompt_tokens,
            report.cost.generated_tokens,
            report.cost.seconds,
        ),
    );
    curve(&mut out, report, "Accuracy, a tie counts as wrong (95 % interval by query)", |cell| {
        cell.accuracy.map(|value| percent(value, cell.interval))
    });
    curve(&mut out, report, "Accuracy, ties broken at random", |cell| {
        cell.accuracy_random_ties.map(|value| percent(value, None))
    });
    curve(&mut out, report, "Single responses, ROC-AUC", |cell| {
        cell.auc.map(|value| percent(value, cell.auc_interval))
    });
    costs(&mut out, report);
    published(&mut out, report);
    comparisons(&mut out, report);
    stopping(&mut out, report);
    groups(&mut out, report, "By source and category, at the largest k", &report.categories);
    if report.sizes.len() > 1 {
        groups(&mut out, report, "By number of responses, at the largest k", &report.sizes);
    }
    let bias: Vec<String> = report.position_bias.iter().map(|bias| format!("{bias:+.2}")).collect();
    if bias.len() > 1 {
        line(&mut out, "## Places\n");
        line(
            &mut out,
            &format!(
                "Mean score by place shown, against the sample's own mean: {}.\n",
                bias.join(", ")
            ),
        );
    }
    out
}

/// Nothing is said if all samples round alike.
fn drawn_in(numerics: &[String]) -> String {
    match numerics {
        [] | [_] => String::new(),
        classes => format!(
            "They were drawn in {} numerics classes ({}). ",
            classes.len(),
            classes.join(", ")
        ),
    }
}

fn curve(
    out: &mut String,
    report: &Report,
    title: &str,
    text_of: impl Fn(&Cell) -> Option<String>,
) {
    let methods: Vec<_> = report
        .curve
        .iter()
        .filter(|(_, cells)| cells.values().any(|cell| text_of(cell).is_some()))
        .collect();
    if methods.is_empty() {
        return;
    }
    let ks: BTreeSet<usize> = methods.iter().flat_map(|(_, cells)| cells.keys().copied()).collect();
    line(out, &format!("## {title}\n"));
    let heads: Vec<String> = ks.iter().map(|k| format!("k = {k}")).collect();
    line(out, &format!("| method | {} |", heads.join(" | ")));
    line(out, &format!("|---|{}", "---|".repeat(ks.len())));
    for (method, cells) in methods {
        let row = ks.iter().map(|k| cells.get(k).and_then(&text_of).unwrap_or_default());
        line(out, &format!("| {method} | {} |", row.collect::<Vec<_>>().join(" | ")));
    }
    for (name, cell) in &report.baselines {
        if let Some(text) = text_of(cell) {
            line(out, &format!("| *{name}* | {text} |{}", " |".repeat(ks.len().saturating_sub(1))));
        }
    }
    line(out, "");
}

/// Every judge at its largest k, together with the scalar models: the cost of an accuracy.
fn costs(out: &mut String, report: &Report) {
    if report.scalars.is_empty() {
        return;
    }
    line(out, "## Accuracy and what it takes an item\n");
    line(out, "| judge | accuracy | ties at random | tokens read | tokens written | seconds |");
    line(out, "|---|---|---|---|---|---|");
    let mut row = |name: &str, cell: &Cell, read: f64, written: f64, seconds: f64| {
        let at_random = cell.accuracy_random_ties.map(|value| percent(value, None));
        let accuracy = accuracy_or_auc(cell).unwrap_or_default();
        let at_random = at_random.unwrap_or_default();
        let cost = format!("{read:.0} | {written:.0} | {seconds:.2}");
        line(out, &format!("| {name} | {accuracy} | {at_random} | {cost} |"));
    };
    for (method, cells) in &report.curve {
        if let Some((k, cell)) = cells.last_key_value() {
            let cost = report.cost_at(*method, *k);
            let read = cost.prompt_tokens + cost.rank_tokens;
            row(&format!("{method}@{k}"), cell, read, cost.generated_tokens, cost.seconds);
        }
    }
    for (name, scalar) in &report.scalars {
        row(&cell_text(name), &scalar.cell, scalar.tokens, 0.0, scalar.seconds);
    }
    line(out, "");
}

/// The figures of each set at every method's largest k.
fn published(out: &mut String, report: &Report) {
    for (set, SetReport { figures, not_computed }) in &report.published {
        let of_judge = figures.iter().filter_map(|(method, by_k)| {
            by_k.last_key_value().map(|(k, of)| (format!("{method}@{k}"), of))
        });
        let of_scalars = report
            .scalars
            .iter()
            .filter_map(|(name, scalar)| scalar.published.get(set).map(|of| (cell_text(name), of)));
        let largest: Vec<(String, &Vec<Figure>)> = of_judge.chain(of_scalars).collect();
        line(out, &format!("## As {set} reports it, %\n"));
        if let Some((_, first)) = largest.first() {
            let heads: Vec<&str> = largest.iter().map(|(name, _)| &**name).collect();
            line(out, &format!("| | items | {} |", heads.join(" | ")));
            line(out, &format!("|---|---|{}", "---|".repeat(heads.len())));
            for Figure { name, n_items, .. } in *first {
                let value = |of: &Vec<Figure>| {
                    let found = of.iter().find(|figure| figure.name == *name);
                    found.map(|figure| percent(figure.value, None)).unwrap_or_default()
                };
                let cells: Vec<String> = largest.iter().map(|(_, of)| value(of)).collect();
                line(out, &format!("| {} | {n_items} | {} |", cell_text(name), cells.join(" | ")));
            }
            line(out, "");
        }
        if !not_computed.is_empty() {
            line(out, &format!("Not computed: {not_computed}.\n"));
        }
    }
}

fn comparisons(out: &mut String, report: &Report) {
    if report.comparisons.is_empty() {
        return;
    }
    line(out, "## Paired differences on the same items\n");
    line(
        out,
        "The comparison marked *planned* was named before anything was measured; the others are exploratory.\n",
    );
    line(out, "| | difference, points | 95 % interval | p |");
    line(out, "|---|---|---|---|");
    for comparison in &report.comparisons {
        let mark = if comparison.is_planned { " *(planned)*" } else { "" };
        let [low, high] = comparison.paired.interval.map(|end| 100.0 * end);
        line(
            out,
            &format!(
                "| {} - {}{mark} | {:+.1} | {low:+.1} to {high:+.1} | {:.3} |",
                comparison.one,
                comparison.other,
                100.0 * comparison.paired.difference,
                comparison.paired.p_value,
            ),
        );
    }
    line(out, "");
}

fn stopping(out: &mut String, report: &Report) {
    if report.stopping.is_empty() {
        return;
    }
    line(out, "## Stopping early, replayed on the same samples\n");
    line(
        out,
        "Under a plain vote; where `meta` is said, under that of the best half by meta score.\n",
    );
    line(
        out,
        "| rule | samples saved | other pick | accuracy | reward off by | pick's reward higher by |",
    );
    line(out, "|---|---|---|---|---|---|");
    for stopped in &report.stopping {
        line(
            out,
            &format!(
                "| {} | {:.1} % | {:.1} % | {} | {:.2} | {:+.3} |",
                stopped.name(),
                100.0 * stopped.saved,
                100.0 * stopped.other_pick,
                stopped.accuracy.map(|value| percent(value, None)).unwrap_or_default(),
                stopped.reward_error,
                stopped.bias_of_pick,
            ),
        );
    }
    line(out, "");
}

fn groups(out: &mut String, report: &Report, title: &str, groups: &BTreeMap<String, Category>) {
    let methods: Vec<_> = report.curve.keys().collect();
    line(out, &format!("## {title}\n"));
    line(out, "Accuracy, of single responses the ROC-AUC, with its 95 % interval by query.\n");
    let names: Vec<String> = methods.iter().map(ToString::to_string).collect();
    line(out, &format!("| | items | {} |", names.join(" | ")));
    line(out, &format!("|---|---|{}", "---|".repeat(methods.len())));
    for (name, group) in groups {
        let cells = methods.iter().map(|method| group.cells.get(method).and_then(accuracy_or_auc));
        let cells: Vec<String> = cells.map(Option::unwrap_or_default).collect();
        let name = cell_text(name);
        line(out, &format!("| {name} | {} | {} |", group.n_items, cells.join(" | ")));
    }
    line(out, "");
}

fn accuracy_or_auc(cell: &Cell) -> Option<String> {
    let accuracy = cell.accuracy.map(|value| percent(value, cell.interval));
    accuracy.or_else(|| cell.auc.map(|value| percent(value, cell.auc_interval) + " AUC"))
}

fn percent(value: f64, interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([low, high]) => {
            format!("{:.1} ({:.1} to {:.1})", 100.0 * value, 100.0 * low, 100.0 * high)
        }
        None => format!("{:.1}", 100.0 * value),
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a text takes any line");
}
