//! `jury train meta --backbone MODEL`: a separate model's hidden states of samples, which a head is trained on.

use anyhow::Context;
use jury_eval::answers::{self, Answers};
use jury_eval::asked::Asked;
use jury_grm::domain::Verdict;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_worker::backend::meta::{ReaderLost, StateReader};

use super::answers::{answer_all, tell_problem, trajectories};
use super::rank::Run;

/// Replaces the judge's hidden state of every sample with scores by the model's. False after Ctrl-C.
pub async fn by_backbone(
    reader: &mut StateReader,
    run: &Run<'_>,
    verdicts: &mut [Verdict],
    ended: impl Fn() -> bool,
    meter: &Meter,
) -> Result<bool, Failed> {
    let asked = run.questions(verdicts)?;
    let file = answers::path(run.folder.path(), "states", (reader.digest(), reader.numerics()));
    let read = async |item: &Asked| {
        tokio::task::block_in_place(|| read(reader, item))
            .context("the same command continues once the card is back")
            .or_exit(Exit::Unavailable)
    };
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

fn read(reader: &mut StateReader, item: &Asked) -> Result<Answers<Vec<f32>>, ReaderLost> {
    let before = reader.computed_tokens();
    let mut answers = Answers::to(item);
    for (messages, said) in &item.said {
        for state in reader.read(messages, &trajectories(said))? {
            answers.put(state.index, state.outcome);
        }
    }
    answers.tokens = reader.computed_tokens().saturating_sub(before);
    Ok(answers)
}
