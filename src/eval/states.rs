//! `jury train meta --backbone MODEL`: the states that a model of its own has behind samples, for a head to learn from.

use jury_eval::answers::{self, Answers};
use jury_eval::asked::Asked;
use jury_grm::domain::Verdict;
use jury_terminal::exit::Failed;
use jury_terminal::meter::Meter;
use jury_worker::backend::meta::StateReader;

use super::answers::{answer_all, tell_problem, trajectories};
use super::rank::Run;

/// Gives every sample with scores the state that the model has behind it, in place of the judge's own. False after Ctrl-C.
pub async fn by_backbone(
    reader: &mut StateReader,
    run: &Run<'_>,
    verdicts: &mut [Verdict],
    ended: impl Fn() -> bool,
    meter: &Meter,
) -> Result<bool, Failed> {
    let asked = run.questions(verdicts)?;
    let file = answers::path(run.folder.path(), "states", (reader.digest(), reader.numerics()));
    let read = async |item: &Asked| Ok(tokio::task::block_in_place(|| read(reader, item)));
    let Some(states) = answer_all(&file, &asked, ended, meter, read).await? else {
        return Ok(false);
    };
    tell_problem(reader.name(), &states, meter);
    for verdict in verdicts {
        let mut of_item = states.get(&verdict.item_id).map(|states| states.answers.iter());
        for sample in verdict.samples.iter_mut().flatten() {
            let state = || of_item.as_mut()?.next()?.clone();
            sample.hidden_state = sample.scores().is_some().then(state).flatten();
        }
    }
    Ok(true)
}

fn read(reader: &mut StateReader, item: &Asked) -> Answers<Vec<f32>> {
    let before = reader.computed_tokens();
    let mut answers = Answers::to(item);
    for (messages, said) in &item.said {
        for state in reader.read(messages, &trajectories(said)) {
            answers.put(state.index, state.outcome);
        }
    }
    answers.tokens = reader.computed_tokens().saturating_sub(before);
    answers
}
