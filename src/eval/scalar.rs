//! `--baseline model:FOLDER`: scalar reward models score the same items, one response at a time.

use std::collections::HashMap;

use jury_eval::answers::Answers;
use jury_eval::asked::Asked;
use jury_eval::scalar::Scalar;
use jury_grm::domain::Item;
use jury_terminal::exit::Failed;
use jury_terminal::meter::Meter;

use super::config::EvalConfig;
use super::files::Folder;
use super::scoring::ScalarModel;

/// The scores of every baseline; `None` after Ctrl-C.
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
    let asked: Vec<Asked> = items.iter().map(Asked::of_responses).collect();
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

fn scalar(model: ScalarModel, items: &[Item], scored: &HashMap<String, Answers<f64>>) -> Scalar {
    let of_items: Vec<&Answers<f64>> =
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
