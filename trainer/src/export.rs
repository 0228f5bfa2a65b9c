//! Folders that other trainers run: data in their form, the rule as their reward function, a launch file with the paper's
//! numbers.
//!
//! One row is an item in one order. Of items with as many responses the best one stands in each place in turn. A row carries its item and order as JSON: `jury.outcome_reward` renders the same prompt from them, to
//! know which scores of the answer are the item's own words.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use jury_eval::truth::{self, Truth};
use jury_grm::domain::{Item, Scale, ScoreRequest};
use jury_grm::plan::{duplicate_of, plan};
use jury_grm::prompt::Template;
use serde_json::{Value, json};

use crate::chat::{self, Turn};
use crate::durable;
use crate::error::TuneError;

/// A trainer that folders are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trainer {
    /// Hugging Face's TRL.
    Trl,
    /// verl.
    Verl,
    /// OpenRLHF.
    OpenRlhf,
}

/// Numbers of the launch file.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportConfig {
    /// The model that is trained, as the trainer finds it.
    pub model: String,
    /// Samples of a group.
    pub group: u32,
    /// Weight of the KL in the loss.
    pub beta: f64,
    /// Longest prompt in tokens.
    pub max_prompt_tokens: usize,
    /// Longest critique in tokens.
    pub max_critique_tokens: u32,
    /// The trainer's seed.
    pub seed: u64,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows of data.
    pub rows: usize,
    /// Ids of items that nothing can be learned from.
    pub unfit: Vec<String>,
}

/// The paper's steps, and groups of a step.
const STEPS: usize = 900;
const GROUPS: usize = 128;
const TRL_REWARD: &str = r#"
def outcome_reward(completions, item, order, **kwargs):
    """One reward a completion; items and orders are columns of the data."""
    texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    rows = zip(texts, item, order)
    return [jury.outcome_reward(of, json.loads(shown), text)[0] for text, of, shown in rows]
"#;
const VERL_REWARD: &str = r#"
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """One reward a sample; the ground truth is item and order."""
    truth = json.loads(ground_truth)
    reward, is_readable = jury.outcome_reward(truth["item"], truth["order"], solution_str)
    return {"score": reward, "readable": float(is_readable)}
"#;
const OPENRLHF_REWARD: &str = r#"
import torch


def reward_func(queries, prompts, labels, **kwargs):
    """One reward a query, which is prompt and answer together; the label is item and order."""
    rewards, readable = [], []
    for query, prompt, label in zip(queries, prompts, labels):
        truth = json.loads(label)
        answer = query[len(prompt) :] if query.startswith(prompt) else query
        reward, is_readable = jury.outcome_reward(truth["item"], truth["order"], answer)
        rewards.append(reward)
        readable.append(float(is_readable))
    rewards = torch.tensor(rewards)
    return {"rewards": rewards, "scores": (rewards + 1) / 2, "extra_logs": {"readable": torch.tensor(readable)}}
"#;

// === impl Trainer ===

impl Trainer {
    fn reward(self) -> String {
        let body = match self {
            Trainer::Trl => TRL_REWARD,
            Trainer::Verl => VERL_REWARD,
            Trainer::OpenRlhf => OPENRLHF_REWARD,
        };
        include_str!("export/reward.py")
            .replace("@TRAINER@", &self.to_string())
            .replace("@BODY@\n", body)
    }

    fn launch(self) -> (&'static str, &'static str) {
        match self {
            Trainer::Trl => ("train.py", include_str!("export/trl.py")),
            Trainer::Verl => ("train.sh", include_str!("export/verl.sh")),
            Trainer::OpenRlhf => ("train.sh", include_str!("export/openrlhf.sh")),
        }
    }

    fn row(self, prompt: &[Turn], item: &str, order: &[usize]) -> Value {
        let truth = || json!({"item": item, "order": order}).to_string();
        match self {
            Trainer::Trl => {
                json!({"prompt": prompt, "item": item, "order": json!(order).to_string()})
            }
            Trainer::Verl => json!({
                "data_source": "jury",
                "prompt": prompt,
                "ability": "judging",
                "reward_model": {"style": "rule", "ground_truth": truth()},
                "extra_info": {"split": "train"},
            }),
            Trainer::OpenRlhf => json!({"messages": prompt, "label": truth()}),
        }
    }
}

impl fmt::Display for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trainer::Trl => "TRL",
            Trainer::Verl => "verl",
            Trainer::OpenRlhf => "OpenRLHF",
        })
    }
}

/// Writes the folder, which is made.
///
/// # Errors
/// [`TuneError::Setting`] for a name of a model that no launch file can hold, [`TuneError::Foreign`] for a folder that holds
/// files of an export with other contents, [`TuneError::Write`].
pub fn export(
    trainer: Trainer,
    items: &[Item],
    config: &ExportConfig,
    folder: &Path,
) -> Result<Exported, TuneError> {
    if config.model.trim().is_empty() {
        return Err(TuneError::setting("--model", "name the model that is trained"));
    }
    if config.model.contains(['"', '\\', '$', '`', '\n']) {
        let why = "no quotes, backslashes, dollars or line ends, since a script quotes it";
        return Err(TuneError::setting("--model", why));
    }
    let template = Template::builtin();
    let mut exported = Exported::default();
    let mut data = String::new();
    let mut places = Places::default();
    for item in items {
        let Some((item, scale)) = with_truth(item) else {
            exported.unfit.push(item.id.clone());
            continue;
        };
        let order = &places.next_order(&item);
        let rendered = chat::prompt(&template, &item, order, scale)
            .map_err(|error| TuneError::setting("template", error.to_string()))?;
        let mut turns = chat::conversation(&rendered, "").messages;
        turns.pop();
        let json = serde_json::to_string(&item).unwrap_or_default();
        data += &trainer.row(&turns, &json, order).to_string();
        data.push('\n');
        exported.rows += 1;
    }
    if exported.rows == 0 {
        return Err(TuneError::NoData("no item says which response is best".to_owned()));
    }
    let (name, launch) = trainer.launch();
    let launch = fill(launch, config, exported.rows);
    let files = [("data.jsonl", data), ("reward.py", trainer.reward()), (name, launch)];
    refuse_others(folder, &files)?;
    std::fs::create_dir_all(folder).map_err(|source| TuneError::write(folder, source))?;
    for (name, text) in &files {
        durable::replace(&folder.join(name), text.as_bytes())?;
    }
    Ok(exported)
}

/// Refuses a folder whose files this export would not write so: somebody has edited them, or they are of another export.
fn refuse_others(folder: &Path, files: &[(&str, String)]) -> Result<(), TuneError> {
    for name in ["data.jsonl", "reward.py", "train.py", "train.sh"] {
        let path = folder.join(name);
        let now = files.iter().find(|(file, _)| *file == name).map(|(_, text)| text.as_bytes());
        match std::fs::read(&path) {
            Ok(there) if Some(&*there) == now => {}
            Ok(_) => {
                let why = "it is edited, or of an export with another trainer, other items or other numbers; name another \
                           folder with --out, or remove it";
                return Err(TuneError::foreign(&path, why));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(TuneError::read(&path, source)),
        }
    }
    Ok(())
}

/// Where the best response stands, in turn: by number of responses, items so far.
#[derive(Debug, Default)]
struct Places(BTreeMap<usize, usize>);

// === impl Places ===

impl Places {
    /// The order of serving's whose best response stands in the next place.
    fn next_order(&mut self, item: &Item) -> Vec<usize> {
        let mut request = ScoreRequest::new(item.clone());
        request.settings.k = u32::try_from(item.responses.len()).unwrap_or(1);
        // A panel without the best response would be punished whatever was written of it.
        request.settings.max_panel = u32::MAX;
        let mut orders = plan(&request).samples.into_iter().map(|spec| spec.order);
        let first = orders.next().unwrap_or_default();
        let turn = self.0.entry(first.len()).or_default();
        let place = *turn % first.len().max(1);
        *turn += 1;
        let stands = |order: &Vec<usize>| order.get(place).copied() == item.best;
        if stands(&first) { first } else { orders.find(stands).unwrap_or(first) }
    }
}

/// The item with its best response by name, and the scale of its scores.
fn with_truth(item: &Item) -> Option<(Item, Scale)> {
    if crate::rft::unfit(item).is_some() {
        return None;
    }
    match truth::of(item)? {
        Truth::Best(best) => {
            // A duplicate is shown under the lowest index of its text.
            let best = duplicate_of(&item.responses)[best];
            Some((Item { best: Some(best), ..item.clone() }, Scale::POINTWISE))
        }
        Truth::Single(_) => Some((item.clone(), Scale::BINARY)),
        Truth::Graded => None,
    }
}

fn fill(launch: &str, config: &ExportConfig, rows: usize) -> String {
    let episodes = (STEPS * GROUPS).div_ceil(rows.max(1));
    let tokens = config.max_critique_tokens as usize;
    launch
        .replace("@MODEL@", &config.model)
        .replace("@GROUP@", &config.group.to_string())
        .replace("@BETA@", &config.beta.to_string())
        .replace("@PROMPT_TOKENS@", &config.max_prompt_tokens.to_string())
        .replace("@TOKENS@", &tokens.to_string())
        .replace("@ALL_TOKENS@", &(tokens + config.max_prompt_tokens).to_string())
        .replace("@EPISODES@", &episodes.to_string())
        .replace("@SEED@", &config.seed.to_string())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use jury_grm::domain::Query;

    use super::*;

    fn config() -> ExportConfig {
        ExportConfig {
            model: "owner/model".to_owned(),
            group: 4,
            beta: 0.002,
            max_prompt_tokens: 3000,
            max_critique_tokens: 1000,
            seed: 1,
        }
    }

    fn items() -> Vec<Item> {
        let item = |id: &str, best| Item {
            id: id.to_owned(),
            best,
            ..Item::bare(Query::Text(format!("what {id}")), vec!["a".to_owned(), "b".to_owned()])
        };
        vec![item("1", Some(0)), item("2", Some(1)), item("none", None), item("3", Some(0))]
    }

    #[test]
    fn a_folder_holds_data_rule_and_launch_file_without_a_blank_left() {
        for trainer in [Trainer::Trl, Trainer::Verl, Trainer::OpenRlhf] {
            let folder = tempfile::tempdir().unwrap();
            let exported = export(trainer, &items(), &config(), folder.path()).unwrap();
            assert_eq!((exported.rows, exported.unfit), (3, vec!["none".to_owned()]));
            let (name, _) = trainer.launch();
            for file in [name, "reward.py"] {
                let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
                assert!(!text.contains('@') || file == "train.sh", "{text}");
                for blank in ["@MODEL@", "@TOKENS@", "@BODY@", "@BETA@", "@EPISODES@"] {
                    assert!(!text.contains(blank), "{text}");
                }
            }
            let data = std::fs::read_to_string(folder.path().join("data.jsonl")).unwrap();
            for line in data.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                let prompt = row.get("prompt").unwrap_or(&row["messages"]);
                assert!(prompt[0]["content"].as_str().unwrap().contains("Responses to be Scored"));
                // Neither prompt tells the best: only what the rule reads does.
                assert!(!prompt.to_string().contains("best response is"));
            }
        }
    }

    #[test]
    fn the_best_response_stands_in_every_place_equally_often() {
        let item = |at: usize, n: usize| Item {
            best: Some(at * 7 % n),
            ..Item::bare(
                Query::Text(format!("what {at}")),
                (0..n).map(|response| format!("{at} {response}")).collect(),
            )
        };
        let mut places = Places::default();
        let mut found = BTreeMap::<(usize, Option<usize>), usize>::new();
        for (at, n) in (0..36).map(|at| (at, 2 + at % 3)) {
            let item = item(at, n);
            let order = places.next_order(&item);
            let place = order.iter().position(|response| Some(*response) == item.best);
            *found.entry((n, place)).or_default() += 1;
        }
        let expected = [(2, 6), (3, 4), (4, 3)];
        let expected = expected
            .into_iter()
            .flat_map(|(n, times)| (0..n).map(move |place| ((n, Some(place)), times)));
        assert_eq!(found, expected.collect());
        // A copy is shown once, and what is shown of a single response is that.
        let twice = Item { responses: vec!["a".into(), "b".into(), "a".into()], ..item(7, 3) };
        assert_eq!(places.next_order(&Item { best: Some(0), ..twice }).len(), 2);
        assert_eq!(places.next_order(&Item { best: None, ..item(0, 1) }), [0]);
    }

    #[test]
    fn bash_and_python_read_what_is_written() {
        for trainer in [Trainer::Trl, Trainer::Verl, Trainer::OpenRlhf] {
            let folder = tempfile::tempdir().unwrap();
            export(trainer, &items(), &config(), folder.path()).unwrap();
            let (name, _) = trainer.launch();
            for file in [name, "reward.py"] {
                let path = folder.path().join(file);
                let parse = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
                let (program, flags) = if file.ends_with(".sh") {
                    ("bash", vec!["-n"])
                } else {
                    ("python3", vec!["-c", parse])
                };
                let read = Command::new(program).args(flags).arg(&path).output().unwrap();
                assert!(read.status.success(), "{trainer} {file}: {read:?}");
            }
        }
    }

    #[test]
    fn a_folder_is_written_again_as_it_is_and_refused_once_a_file_differs() {
        let folder = tempfile::tempdir().unwrap();
        let export_for = |trainer| export(trainer, &items(), &config(), folder.path());
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        export_for(Trainer::Verl).unwrap();
        export_for(Trainer::Verl).unwrap();
        for other in [Trainer::Trl, Trainer::OpenRlhf] {
            let error = export_for(other).unwrap_err().to_string();
            assert!(error.contains("data.jsonl") && error.contains("--out"), "{error}");
        }
        assert!(read("reward.py").contains("verl"), "nothing was written");

        std::fs::write(folder.path().join("train.sh"), "edited").unwrap();
        let error = export_for(Trainer::Verl).unwrap_err().to_string();
        assert!(error.contains("train.sh"), "{error}");
        assert_eq!(read("train.sh"), "edited");
        std::fs::remove_file(folder.path().join("train.sh")).unwrap();
        std::fs::write(folder.path().join("train.py"), "of TRL").unwrap();
        assert!(export_for(Trainer::Verl).unwrap_err().to_string().contains("train.py"));
    }

    #[test]
    fn nothing_to_learn_from_and_a_name_that_breaks_quotes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(export(Trainer::Trl, &items()[2..3], &config(), folder.path()).is_err());
        let config = ExportConfig { model: "a\"; rm".to_owned(), ..config() };
        let error = export(Trainer::Verl, &items(), &config, folder.path()).unwrap_err();
        assert!(error.to_string().contains("quotes"), "{error}");
        let nameless = ExportConfig { model: " ".to_owned(), ..config };
        let error = export(Trainer::Verl, &items(), &nameless, folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("--model: "), "{error}");
    }
}
