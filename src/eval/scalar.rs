//! `--baseline model:FOLDER`: scalar reward models judge the same items, each response for itself.

use std::collections::HashMap;

use jury_eval::scalar::Scalar;
use jury_grm::domain::{Item, Turn};
use jury_grm::prompt::{Message, Span, Trust};
use jury_proto::convert::Trajectory;
use jury_terminal::exit::Failed;
use jury_terminal::meter::Meter;

use super::answers::{Answered, Asked};
use super::config::EvalConfig;
use super::files::Folder;
use super::scoring::ScalarModel;

/// What every baseline says of the items; `None` after Ctrl-C.
pub async fn baselines(
    config: &EvalConfig,
    items: &[Item],
    folder: &Folder,
    ended: impl Fn() -> bool,
    meter: &Meter,
) -> Result<Option<Vec<Scalar>>, Failed> {
    let mut scalars: Vec<Scalar> = Vec::new();
    if config.baselines.is_empty() {
        return Ok(Some(scalars));
    }
    let asked: Vec<Asked> = items.iter().map(asked).collect();
    for baseline in &config.baselines {
        let model = ScalarModel::load(baseline, None, meter)?;
        let place = (folder.path(), "scalar");
        let Some(scored) = model.score_all(place, &asked, &ended, meter).await? else {
            return Ok(None);
        };
        scalars.push(scalar(model, items, &scored));
    }
    Ok(Some(scalars))
}

/// The conversation as it is, and each response as the assistant's next turn.
fn asked(item: &Item) -> Asked {
    let message = |turn: Turn| {
        let span = Span { text: turn.content.into(), trust: Trust::Untrusted, response: None };
        Message { role: turn.role, spans: vec![span] }
    };
    let messages = item.query.turns().into_iter().map(message).collect();
    let said = |(index, text): (u32, &String)| Trajectory { index, text: text.clone() };
    let said = (0..).zip(&item.responses).map(said).collect();
    Asked { item_id: item.id.clone(), said: vec![(messages, said)] }
}

fn scalar(model: ScalarModel, items: &[Item], scored: &HashMap<String, Answered<f64>>) -> Scalar {
    let of_items: Vec<&Answered<f64>> =
        items.iter().filter_map(|item| scored.get(&item.id)).collect();
    let n = of_items.len().max(1) as f64;
    Scalar {
        name: model.name,
        model_digest: model.digest,
        tokens: of_items.iter().map(|scored| scored.tokens).sum::<u64>() as f64 / n,
        seconds: of_items.iter().map(|scored| scored.ms).sum::<u64>() as f64 / n / 1000.0,
        rewards: of_items
            .into_iter()
            .map(|scored| (scored.item_id.clone(), scored.answers.clone()))
            .collect(),
    }
}
