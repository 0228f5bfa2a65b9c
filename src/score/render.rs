//! A verdict for a person. Pure: the terminal's width and colours are arguments.

mod paint;

use std::fmt::Write;

use jury_grm::domain::{
    Item, Readout, ReasonCode, Sample, Status, StopRule, StoppedBy, Usage, Verdict, VoteRule,
};
use jury_grm::vote::exemplar;
use jury_worker::models::entry;

pub use self::paint::{Paint, one_line, wrapped};

/// The page to write on.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Columns.
    pub width: usize,
    pub paint: Paint,
}

/// Widest page: longer lines are hard to read.
pub const MAX_WIDTH: usize = 100;
/// Most lines of one sample's principles, and of its critique.
const MAX_TEXT_LINES: usize = 12;
/// Indentation of text.
const INDENT: &str = "  ";

/// The whole answer to one item.
pub fn render(item: &Item, verdict: &Verdict, page: Page) -> String {
    let mut text = String::new();
    headline(&mut text, verdict, page);
    rewards(&mut text, item, verdict, page);
    figures(&mut text, verdict, page);
    let samples = verdict.samples.as_deref().unwrap_or_default();
    if let Some(sample) = exemplar(samples, &verdict.rewards, verdict.pick) {
        critique(&mut text, sample, page);
    }
    let is_small = verdict.provenance.model.as_deref().is_some_and(|model| entry(model).is_some());
    if is_small && verdict.status != Status::Unscored {
        let said =
            "Models of this size only demonstrate how Jury works; do not train on their rewards.";
        text.push('\n');
        text.push_str(&page.paint.dim(&wrapped(said, page.width, "")));
    }
    text
}

fn headline(text: &mut String, verdict: &Verdict, page: Page) {
    let paint = page.paint;
    let said = match (verdict.status, verdict.pick) {
        (Status::Unscored, _) => paint.red("UNSCORED: no rewards"),
        (_, Some(pick)) => paint.bold(&format!("responses[{pick}] is best")),
        (_, None) => paint.bold("Rewards"),
    };
    write_line(text, &said);
    let counts = verdict.counts;
    if counts.too_long + counts.timed_out + counts.failed > 0 && verdict.status == Status::Partial {
        let said = format!(
            "PARTIAL: some samples did not finish; {} of {} are valid",
            counts.valid, counts.asked
        );
        write_line(text, &paint.yellow(&said));
    }
    if let Some(why) = &verdict.meta_unavailable {
        let said =
            format!("PARTIAL: the Meta RM was unavailable, so all valid samples voted: {why}");
        text.push_str(&paint.yellow(&wrapped(&said, page.width, "")));
    }
    if let Some(why) = why_stopped(verdict) {
        let n_drawn = counts.asked - counts.not_needed;
        write_line(text, &format!("stopped after {n_drawn} of {}: {why}", counts.asked));
    }
    if let Some(agreement) = verdict.agreement {
        // One sample has no confidence.
        let confidence = verdict.confidence.map_or_else(|| "-".to_owned(), percent);
        let said =
            format!("agreement {} of the samples, confidence {confidence}", percent(agreement));
        write_line(text, &said);
    }
    if !verdict.tied.is_empty() {
        let tied: Vec<String> =
            verdict.tied.iter().map(|index| format!("responses[{index}]")).collect();
        let said = format!("tied for the highest reward: {}", tied.join(", "));
        write_line(text, &paint.yellow(&said));
    }
    text.push('\n');
}

/// Why no further samples were needed.
fn why_stopped(verdict: &Verdict) -> Option<String> {
    let asked = verdict.counts.asked;
    match (verdict.stopped_by, verdict.provenance.voting.stop) {
        (StoppedBy::Lossless, _) => Some("the pick cannot change".to_owned()),
        (StoppedBy::Confidence, StopRule::Confidence(level)) => {
            Some(format!("the pick of all {asked} is known with probability {level}"))
        }
        (StoppedBy::Width, StopRule::Width(width)) => {
            Some(format!("the 95 % interval of every reward is at most {width} wide"))
        }
        _ => None,
    }
}

/// How the samples voted, unless it was by the plain mean.
fn vote(verdict: &Verdict) -> Option<String> {
    let voting = &verdict.provenance.voting;
    match voting.rule {
        None | Some(VoteRule::Mean) => None,
        Some(VoteRule::Top) => {
            Some(format!("the {} with the highest meta scores", verdict.counts.voted))
        }
        Some(VoteRule::Majority) => Some(
            "majority: a reward is the share of samples that score the response highest".to_owned(),
        ),
        Some(VoteRule::Weighted) => Some("weighted by meta scores".to_owned()),
    }
}

fn rewards(text: &mut String, item: &Item, verdict: &Verdict, page: Page) {
    let paint = page.paint;
    for (index, response) in item.responses.iter().enumerate() {
        let reward = verdict.rewards.get(index).copied().flatten();
        let mark = if verdict.pick == Some(index) { paint.green("*") } else { " ".to_owned() };
        let figure = match reward {
            Some(reward) => paint.bold(&format!("{reward:6.2}")),
            None => paint.red("  none"),
        };
        let preview = if response.is_empty() {
            "(empty)".to_owned()
        } else {
            one_line(response, page.width.saturating_sub(18))
        };
        let place = format!("[{index}]");
        let _ = writeln!(text, "{INDENT}{mark} {place:>4} {figure}  {preview}");
        // Neighbours without reward for the same reason share its line.
        let reason_of = |index: usize| verdict.reasons.get(index).and_then(Option::as_ref);
        if let Some(reason) = reason_of(index)
            && reason_of(index + 1) != Some(reason)
        {
            let way_out = match reason.code {
                ReasonCode::Budget => "; try a longer --budget, a smaller -k or a smaller model",
                _ => "",
            };
            let because = format!("because {}{way_out}", reason.detail);
            text.push_str(&wrapped(&because, page.width, "                 "));
        }
    }
    text.push('\n');
}

fn figures(text: &mut String, verdict: &Verdict, page: Page) {
    let (counts, usage, run) = (verdict.counts, verdict.usage, &verdict.run);
    let mut samples =
        format!("{} asked, {} valid, {} voted", counts.asked, counts.valid, counts.voted);
    for (n, what) in [
        (counts.forced, "forced at the token limit"),
        (counts.parse_failed, "without readable scores"),
        (counts.too_long, "with a prompt that is too long"),
        (counts.timed_out, "cut off by the budget"),
        (
            counts.failed,
            if run.workers.is_empty() { "without a worker" } else { "lost with a worker" },
        ),
        (counts.not_needed, "not needed"),
        (counts.spare, "of them spare"),
        (counts.neutralised, "from prompts with neutralised special tokens"),
        (verdict.run.reissued, "retried after a worker was lost"),
    ] {
        if n > 0 {
            let _ = write!(samples, ", {n} {what}");
        }
    }
    let sampling_seconds = run.total_ms.saturating_sub(run.queue_ms) as f64 / 1000.0;
    let mut tokens = if usage == Usage::default() {
        match run.workers.is_empty() {
            true => "none: no sample was drawn".to_owned(),
            false => "none counted: no sample finished".to_owned(),
        }
    } else {
        format!("{} prompt, {} generated", usage.prompt_tokens, usage.generated_tokens)
    };
    if sampling_seconds > 0.0 && usage.generated_tokens > 0 {
        let rate = usage.generated_tokens as f64 / sampling_seconds;
        let _ = write!(tokens, " ({rate:.1} per second, including the time for the prompt)");
    }
    let time = format!(
        "{:.1} s, of which {:.1} s waiting",
        run.total_ms as f64 / 1000.0,
        run.queue_ms as f64 / 1000.0
    );
    let panels = verdict.provenance.forced_panel.map(|panel| {
        format!("at most {panel} responses per prompt, to fit into the model's context")
    });
    let lines = [
        ("samples", Some(samples)),
        ("vote", vote(verdict)),
        ("panels", panels),
        ("tokens", Some(tokens)),
        ("time", Some(time)),
        ("model", Some(model(verdict))),
    ];
    for (name, value) in lines.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let name = page.paint.dim(&format!("{name:<8}"));
        let _ = writeln!(text, "{INDENT}{name} {value}");
    }
}

fn model(verdict: &Verdict) -> String {
    let provenance = &verdict.provenance;
    let Some(model) = &provenance.model else { return "none".to_owned() };
    let digest: String =
        provenance.model_digest.iter().flat_map(|digest| digest.chars().take(8)).collect();
    let readout = match provenance.settings.readout {
        Readout::Free => "free",
        Readout::Sampled => "sampled",
        Readout::Expected => "expected",
    };
    format!(
        "{model} ({digest}), k {}, {readout} readout, seed {}",
        provenance.settings.k, provenance.seed
    )
}

fn critique(text: &mut String, sample: &Sample, page: Page) {
    let paint = page.paint;
    let scores = sample.scores().map_or(&[][..], |scores| &scores.scores);
    let mut scores: Vec<(&usize, &f64)> = std::iter::zip(&sample.spec.order, scores).collect();
    scores.sort_by_key(|(response, _)| **response);
    let by_response: Vec<String> = scores
        .iter()
        .map(|(response, score)| format!("responses[{response}] scores {}", rounded(**score)))
        .collect();
    let title = format!(
        "The sample closest to the verdict (samples[{}]: {})",
        sample.spec.index,
        by_response.join(", ")
    );
    text.push('\n');
    text.push_str(&paint.bold(&wrapped(&title, page.width, "")));
    if !sample.spec.is_in_callers_order() {
        let shown: Vec<String> = std::iter::zip(1.., &sample.spec.order)
            .map(|(place, response)| format!("its Response {place} is responses[{response}]"))
            .collect();
        let said = format!("It saw the responses in a different order: {}.", shown.join(", "));
        text.push_str(&paint.yellow(&wrapped(&said, page.width, INDENT)));
    }
    for (name, content) in [("Principles", &sample.principles), ("Critique", &sample.critique)] {
        let content = content.trim();
        if !content.is_empty() {
            let _ = writeln!(text, "{}", paint.dim(name));
            text.push_str(&cut(&wrapped(content, page.width, INDENT)));
        }
    }
}

/// The first lines of a text, and how many are left out: small models repeat themselves.
fn cut(text: &str) -> String {
    let n_left_out = text.lines().count().saturating_sub(MAX_TEXT_LINES);
    if n_left_out < 2 {
        return text.to_owned();
    }
    let shown: String = text.split_inclusive('\n').take(MAX_TEXT_LINES).collect();
    format!("{shown}{INDENT}… {n_left_out} more lines; --json --samples prints them all\n")
}

fn write_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A score with at most two decimals: whole ones look whole.
fn rounded(score: f64) -> f64 {
    (score * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use tests::sample_verdict;
