//! Judging as an environment: items, prompts in balanced orders, and the rule for rewards.

use std::collections::HashMap;

use jury_engine::{Finish as EngineFinish, Look, Tokenizer, Watch};
use jury_eval::split::{Part, part, query_key};
use jury_grm::correct::{OutcomeReward, Target, outcome_reward};
use jury_grm::domain::{Finish, Item, SampleSpec, ScoreRequest};
use jury_grm::parse::{Begins, ScoreBoxWatch, ScoreShape};
use jury_grm::plan::plan;
use jury_grm::prompt::Template;

use super::{Drawn, Environment, Reward};
use crate::chat;
use crate::error::TuneError;

/// Items as tasks: the members of a group show the responses in the orders that serving would use.
#[derive(Debug, Default)]
pub struct Judging {
    tasks: Vec<Task>,
}

/// One item.
#[derive(Debug)]
pub struct Task {
    item: Item,
    target: Target,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    spec: SampleSpec,
    prompt: Vec<u32>,
    shape: ScoreShape,
}

struct EndsAtBox(ScoreBoxWatch);

impl Watch for EndsAtBox {
    fn look(&mut self, text: &str) -> Look {
        if self.0.look(text) { Look::Stop } else { Look::Continue }
    }
}

/// The tasks of a run.
#[derive(Debug, Default)]
pub struct Tasks {
    /// Tasks to train on.
    pub learned: Vec<Task>,
    /// Tasks to evaluate the policy on.
    pub held_out: Vec<Task>,
    /// Ids of items whose prompts are too long.
    pub too_long: Vec<String>,
}

/// How items become tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tasking {
    /// Samples per group.
    pub group: u32,
    /// Maximum number of prompt tokens.
    pub max_prompt_tokens: usize,
    /// Share of the queries to hold out, 0..=1.
    pub held_out_share: f64,
    /// Determines which. Must differ from the seed of the split into train and test; otherwise all held-out queries
    /// would be on one side of it.
    pub seed: u64,
}

// === impl Tasking ===

impl Tasking {
    /// Turns items into tasks. Items whose best response is unknown are skipped.
    ///
    /// # Errors
    /// As [`Task::new`].
    pub fn tasks(
        &self,
        items: &[Item],
        template: &Template,
        tokenizer: &Tokenizer,
    ) -> Result<Tasks, TuneError> {
        let mut tasks = Tasks::default();
        for item in items {
            let task = Task::new(item, self.group, template, tokenizer)?;
            let Some(task) = task else { continue };
            if task.longest_prompt() > self.max_prompt_tokens {
                tasks.too_long.push(item.id.clone());
                continue;
            }
            match part(query_key(item), self.seed, 1.0 - self.held_out_share) {
                Part::Train => tasks.learned.push(task),
                Part::Test => tasks.held_out.push(task),
            }
        }
        Ok(tasks)
    }
}

// === impl Task ===

impl Task {
    /// An item with a group of `group` members; `None` if its best response is unknown.
    ///
    /// # Errors
    /// If a prompt cannot be rendered or tokenised.
    pub fn new(
        item: &Item,
        group: u32,
        template: &Template,
        tokenizer: &Tokenizer,
    ) -> Result<Option<Task>, TuneError> {
        let Some(target) = Target::of(item) else { return Ok(None) };
        let scale = target.scale();
        let mut request = ScoreRequest::new(item.clone());
        request.settings.k = group;
        request.settings.scale = scale;
        // A panel without the best response would be penalised whatever the judge writes about it.
        request.settings.max_panel = u32::MAX;
        let mut prompts: HashMap<Vec<usize>, (Vec<u32>, ScoreShape)> = HashMap::new();
        let mut members = Vec::new();
        for spec in plan(&request).samples {
            if !prompts.contains_key(&spec.order) {
                let rendered = chat::prompt(template, item, &spec.order, scale)
                    .map_err(|error| TuneError::setting("template", error.to_string()))?;
                let conversation = chat::engine_prompt(&rendered);
                let tokens = tokenizer.encode(&conversation)?;
                let begins = Begins::after(&tokenizer.answer_opening(&conversation)?);
                let shape = ScoreShape::of_prompt(&rendered.messages, spec.order.len(), scale);
                let shape = shape.beginning(begins);
                prompts.insert(spec.order.clone(), (tokens, shape));
            }
            let (prompt, shape) = prompts[&spec.order].clone();
            members.push(Member { spec, prompt, shape });
        }
        Ok(Some(Task { item: item.clone(), target, members }))
    }

    /// The item's id.
    pub fn id(&self) -> &str {
        &self.item.id
    }

    /// The responses in the order that each member's prompt shows them.
    pub fn orders(&self) -> impl Iterator<Item = &[usize]> {
        self.members.iter().map(|member| member.spec.order.as_slice())
    }

    /// Number of tokens of its longest prompt.
    pub fn longest_prompt(&self) -> usize {
        self.members.iter().map(|member| member.prompt.len()).max().unwrap_or(0)
    }
}

// === impl Judging ===

impl Judging {
    /// An environment of these tasks.
    pub fn new(tasks: Vec<Task>) -> Judging {
        Judging { tasks }
    }

    /// Removes tasks; `is_left_out` has one entry for each.
    pub fn without(self, is_left_out: &[bool]) -> Judging {
        let tasks = self.tasks.into_iter().zip(is_left_out);
        Judging {
            tasks: tasks.filter(|(_, is_left_out)| !**is_left_out).map(|(task, _)| task).collect(),
        }
    }
}

impl Environment for Judging {
    fn n_tasks(&self) -> usize {
        self.tasks.len()
    }

    fn prompts(&self, task: usize) -> Vec<&[u32]> {
        self.tasks[task].members.iter().map(|member| member.prompt.as_slice()).collect()
    }

    fn watch(&self, task: usize, member: usize) -> Box<dyn Watch> {
        let shape = self.tasks[task].members[member].shape.clone();
        Box::new(EndsAtBox(ScoreBoxWatch::new(shape)))
    }

    fn reward(&self, task: usize, member: usize, drawn: &Drawn) -> Reward {
        let Task { target, members, .. } = &self.tasks[task];
        let Member { spec, shape, .. } = &members[member];
        let finish = match drawn.finish {
            EngineFinish::Stopped => Finish::Box,
            EngineFinish::EndOfText => Finish::EndOfText,
            EngineFinish::Limit => Finish::Limit,
            EngineFinish::Cancelled => Finish::None,
        };
        let OutcomeReward { value, is_readable } =
            outcome_reward(&drawn.text, finish, shape, &spec.order, *target);
        Reward { value, is_readable }
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Query;

    use super::*;

    #[test]
    fn a_groups_members_show_every_response_in_every_place_equally_often() {
        let fixture =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama");
        let tokenizer = Tokenizer::load(&fixture).unwrap();
        let responses = vec!["the hat".to_owned(), "the inn".to_owned()];
        let item = Item { best: Some(0), ..Item::bare(Query::Text("what".to_owned()), responses) };
        let task = Task::new(&item, 4, &Template::builtin(), &tokenizer).unwrap().unwrap();
        let first: Vec<usize> = task.members.iter().map(|member| member.spec.order[0]).collect();
        assert_eq!(first.iter().filter(|&&response| response == 0).count(), 2);
        let bare = Item { best: None, ..item.clone() };
        assert!(Task::new(&bare, 4, &Template::builtin(), &tokenizer).unwrap().is_none());
        let responses: Vec<String> = (0..40).map(|response| format!("hat {response}")).collect();
        let many = Item { responses, ..item };
        let task = Task::new(&many, 4, &Template::builtin(), &tokenizer).unwrap().unwrap();
        assert!(task.members.iter().all(|member| member.spec.order.contains(&0)));
    }

    #[test]
    fn held_out_queries_are_learned_nowhere_and_long_prompts_are_named() {
        let fixture =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama");
        let tokenizer = Tokenizer::load(&fixture).unwrap();
        let item = |at: usize, query: &str| Item {
            id: at.to_string(),
            best: Some(0),
            ..Item::bare(Query::Text(query.to_owned()), vec!["the hat".into(), "an inn".into()])
        };
        let mut items: Vec<Item> = (0..40).map(|at| item(at, &format!("what of {at}"))).collect();
        items.extend((40..80).map(|at| item(at, &format!("What of {}?", at - 40))));
        items.push(item(80, &"what ".repeat(4000)));
        let tasking = Tasking { group: 2, max_prompt_tokens: 3000, held_out_share: 0.25, seed: 1 };
        let tasks = tasking.tasks(&items, &Template::builtin(), &tokenizer).unwrap();
        assert_eq!(tasks.too_long, ["80"]);
        let queries = |tasks: &[Task]| -> std::collections::BTreeSet<String> {
            tasks.iter().map(|task| query_key(&task.item).to_string()).collect()
        };
        let (learned, held_out) = (queries(&tasks.learned), queries(&tasks.held_out));
        assert!(learned.is_disjoint(&held_out) && !held_out.is_empty());
        assert_eq!(tasks.learned.len() + tasks.held_out.len(), 80);
    }
}
