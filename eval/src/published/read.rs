//! Converts a record of each set to items.
//!
//! Responses keep the order of the record. The order in which a judge sees them is up to the plan, which is balanced
//! and depends only on the content.

mod fields;

use std::path::Path;

use jury_grm::domain::{Item, Query, RequestError, ScoreRequest};
use serde_json::{Map, Value};

use self::fields::Fields;
use super::Set;
use super::figures::PRIOR_SETS;

/// Why a record is not an item of its set.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A field is missing or has an unexpected value.
    #[error("{field}: {problem}")]
    Field {
        /// Its name.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The item exceeds a limit or breaks a rule, for example a conversation that ends with the assistant's turn.
    #[error(transparent)]
    Refused(#[from] RequestError),
}

/// The items of a record: one, none (if a human found no winner), or a pair for each comparison that the set names.
/// `path` is the file's path, whose folders name the subset if records do not; `number` is the record's number.
///
/// # Errors
/// [`RecordError`].
pub fn items(
    set: Set,
    record: &Map<String, Value>,
    path: &Path,
    number: u64,
) -> Result<Vec<Item>, RecordError> {
    let fields = Fields(record);
    let place = Place { path, number };
    let drafts = match set {
        Set::RewardBench => vec![rewardbench(fields, place)?],
        Set::RewardBench2 => vec![rewardbench2(fields)?],
        Set::RmBench => vec![rm_bench(fields, place)?],
        Set::Rmb => vec![rmb(fields)?],
        Set::Ppe => ppe(fields, place)?,
        Set::JudgeBench => vec![judgebench(fields)?],
        Set::LlmBar => vec![llmbar(fields, place)?],
        Set::RealMistake => vec![realmistake(fields, place)?],
    };
    let finished = drafts.into_iter().map(|item| {
        let item = Item { source: Some(set.name().to_owned()), ..item };
        let request = ScoreRequest::new(item);
        request.validate()?;
        Ok(request.item)
    });
    finished.collect()
}

#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    number: u64,
}

/// With the best response first.
fn best_first(
    id: String,
    category: String,
    query: Query,
    best: String,
    others: impl IntoIterator<Item = String>,
) -> Item {
    let responses = std::iter::once(best).chain(others).collect();
    Item { id, category: Some(category), best: Some(0), ..Item::bare(query, responses) }
}

/// With the right responses first, marked by the labels.
fn graded(
    id: String,
    category: String,
    query: Query,
    right: Vec<String>,
    wrong: Vec<String>,
) -> Item {
    let labels = right.iter().map(|_| 1.0).chain(wrong.iter().map(|_| 0.0)).collect();
    let responses = [right, wrong].concat();
    let (category, labels) = (Some(category), Some(labels));
    Item { id, category, labels, ..Item::bare(query, responses) }
}

/// `prompt` (a text; in the prior sets, turns), `chosen`, `rejected`, `subset`, `id`. The file name of a prior set
/// contains the set's name.
fn rewardbench(fields: Fields<'_>, place: Place<'_>) -> Result<Item, RecordError> {
    let stem = place.stem();
    let prior = PRIOR_SETS.into_iter().find(|prior| stem.starts_with(prior));
    let subset = match prior {
        Some(prior) => prior.to_owned(),
        None => fields.optional_text("subset").unwrap_or(stem),
    };
    let id = fields.name("id").unwrap_or_else(|_| place.number.to_string());
    let (chosen, rejected) = (fields.text("chosen")?, fields.text("rejected")?);
    Ok(best_first(format!("{subset}/{id}"), subset, fields.query("prompt")?, chosen, [rejected]))
}

/// `prompt`, `chosen` and `rejected` (lists), `subset`, `id`; in Ties the id is `ref:N` or `tied:N`, and several
/// responses are right.
fn rewardbench2(fields: Fields<'_>) -> Result<Item, RecordError> {
    let (subset, id) = (fields.text("subset")?, fields.name("id")?);
    let (mut chosen, rejected) = (fields.texts("chosen")?, fields.texts("rejected")?);
    let query = fields.query("prompt")?;
    let id = format!("{subset}/{id}");
    if subset == super::figures::TIES {
        return Ok(graded(id, subset, query, chosen, rejected));
    }
    let best = match (chosen.len(), chosen.pop()) {
        (1, Some(best)) => best,
        (n, _) => {
            return Err(wrong("chosen", format!("must have one response but in Ties, has {n}")));
        }
    };
    Ok(best_first(id, subset, query, best, rejected))
}

/// `prompt`, `chosen` and `rejected` (three each: concise, detailed, detailed with Markdown), `id`, and, in the file
/// with all domains, `domain`. The file of a single domain is named `DOMAIN_filtered.json`; its `subset` is the
/// source of the prompts.
fn rm_bench(fields: Fields<'_>, place: Place<'_>) -> Result<Item, RecordError> {
    let of_file = || place.stem().trim_end_matches("_filtered").to_owned();
    let (domain, id) = (fields.optional_text("domain").unwrap_or_else(of_file), fields.name("id")?);
    let (chosen, rejected) = (fields.texts("chosen")?, fields.texts("rejected")?);
    for (field, texts) in [("chosen", &chosen), ("rejected", &rejected)] {
        if texts.len() != 3 {
            let problem = format!("must have three responses, one a style, has {}", texts.len());
            return Err(wrong(field, problem));
        }
    }
    Ok(graded(format!("{domain}/{id}"), domain, fields.query("prompt")?, chosen, rejected))
}

/// `conversation_input` (turns), `category_path`. Pairs have `chosen` and `reject`; best-of-n has `bon_best` and
/// `loser_list`.
fn rmb(fields: Fields<'_>) -> Result<Item, RecordError> {
    let category = fields.text("category_path")?;
    let query = fields.query("conversation_input")?;
    let (id, best, others) = if fields.has("bon_best") {
        let losers = fields.objects("loser_list")?.into_iter();
        let losers = losers.map(|loser| loser.text("answer")).collect::<Result<Vec<_>, _>>()?;
        (fields.name("bon_uid")?, fields.object("bon_best")?, losers)
    } else {
        let loser = fields.object("reject")?.text("answer")?;
        (fields.name("pair_uid")?, fields.object("chosen")?, vec![loser])
    };
    if others.is_empty() {
        return Err(wrong("loser_list", "is empty"));
    }
    Ok(best_first(format!("{category}/{id}"), category, query, best.text("answer")?, others))
}

/// `prompt`, `response_1`, `response_2`. The human preferences have `winner`. The correctness sets have up to
/// `response_32` with `scores`, and `sampled_conflict_pairs`, the pairs on which accuracy is counted.
fn ppe(fields: Fields<'_>, place: Place<'_>) -> Result<Vec<Item>, RecordError> {
    let query = fields.query("prompt")?;
    let response = |index: usize| fields.text(&format!("response_{}", index + 1));
    let id = fields.name("question_id").unwrap_or_else(|_| "question".to_owned());
    if fields.has("winner") {
        let (a, b) = (response(0)?, response(1)?);
        let category = "human_preference".to_owned();
        let id = format!("{category}/{id}/{}", place.number);
        return match &*fields.text("winner")? {
            "model_a" => Ok(vec![best_first(id, category, query, a, [b])]),
            "model_b" => Ok(vec![best_first(id, category, query, b, [a])]),
            "tie" | "tie (bothbad)" => Ok(Vec::new()),
            other => {
                Err(wrong("winner", format!("must be model_a, model_b or a tie, is {other:?}")))
            }
        };
    }
    let scores = fields.numbers("scores")?;
    let category = place.ppe_benchmark();
    let pair = |(one, other): (usize, usize)| {
        let score = |index: usize| {
            let missing = || wrong("sampled_conflict_pairs", format!("{index} is no response"));
            scores.get(index).copied().ok_or_else(missing)
        };
        let (best, worse) = match score(one)?.total_cmp(&score(other)?) {
            std::cmp::Ordering::Greater => (one, other),
            std::cmp::Ordering::Less => (other, one),
            std::cmp::Ordering::Equal => {
                let problem = format!("{one} and {other} have equal scores");
                return Err(wrong("sampled_conflict_pairs", problem));
            }
        };
        let id = format!("{category}/{id}/{}/{one}-{other}", place.number);
        Ok(best_first(id, category.clone(), query.clone(), response(best)?, [response(worse)?]))
    };
    fields.pairs("sampled_conflict_pairs")?.into_iter().map(pair).collect()
}

/// `question`, `response_A`, `response_B`, `label` (`A>B` or `B>A`), `source`, `pair_id`.
fn judgebench(fields: Fields<'_>) -> Result<Item, RecordError> {
    let (a, b) = (fields.text("response_A")?, fields.text("response_B")?);
    let (id, source) = (fields.name("pair_id")?, fields.text("source")?);
    let query = fields.query("question")?;
    match &*fields.text("label")? {
        "A>B" => Ok(best_first(id, source, query, a, [b])),
        "B>A" => Ok(best_first(id, source, query, b, [a])),
        other => Err(wrong("label", format!("must be A>B or B>A, is {other:?}"))),
    }
}

/// `input`, `output_1`, `output_2`, `label` (1 or 2). The subset is the folder; for the adversarial ones, two
/// folders.
fn llmbar(fields: Fields<'_>, place: Place<'_>) -> Result<Item, RecordError> {
    let (one, two) = (fields.text("output_1")?, fields.text("output_2")?);
    let subset = match &*place.folders() {
        [.., adversarial, subset] if adversarial == "Adversarial" => {
            format!("Adversarial/{subset}")
        }
        [.., subset] => subset.clone(),
        [] => place.stem(),
    };
    let id = format!("{subset}/{}", place.number);
    let query = fields.query("input")?;
    match &*fields.name("label")? {
        "1" => Ok(best_first(id, subset, query, one, [two])),
        "2" => Ok(best_first(id, subset, query, two, [one])),
        other => Err(wrong("label", format!("must be 1 or 2, is {other}"))),
    }
}

/// `input`, `llm_response`, and `label` or `error_label` (`error` or `no_error`). The task is the folder.
fn realmistake(fields: Fields<'_>, place: Place<'_>) -> Result<Item, RecordError> {
    let field = if fields.has("label") { "label" } else { "error_label" };
    let label = match &*fields.text(field)? {
        "no_error" => 1.0,
        "error" => 0.0,
        other => return Err(wrong(field, format!("must be error or no_error, is {other:?}"))),
    };
    let task = place.folders().pop().unwrap_or_else(|| place.stem());
    let id = format!("{task}/{}/{}", place.stem(), place.number);
    let item = Item::bare(fields.query("input")?, vec![fields.text("llm_response")?]);
    Ok(Item { id, category: Some(task), labels: Some(vec![label]), ..item })
}

fn wrong(field: &str, problem: impl Into<String>) -> RecordError {
    RecordError::Field { field: field.to_owned(), problem: problem.into() }
}

// === impl Place ===

impl Place<'_> {
    fn stem(self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// From the outermost folder to the file's own, without the hub's `data`.
    fn folders(self) -> Vec<String> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let names = folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        names.filter(|name| name != "data").collect()
    }

    /// The benchmark that these answers belong to, which is named by files and folders but not by records. The name
    /// closest to the file is used, matched as whole words, because folders further out have names of their own.
    fn ppe_benchmark(self) -> String {
        const BENCHMARKS: [&str; 5] = ["mmlu-pro", "math", "gpqa", "mbpp-plus", "ifeval"];
        let parts =
            self.path.components().rev().map(|part| words(&part.as_os_str().to_string_lossy()));
        let named =
            |part: String| BENCHMARKS.into_iter().find(|name| part.contains(&format!("-{name}-")));
        parts.filter_map(named).next().map_or_else(|| self.stem(), str::to_owned)
    }
}

/// `PPE_Math.jsonl` as `-ppe-math-jsonl-`.
fn words(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold("-".to_owned(), |all, word| all + word + "-")
}
