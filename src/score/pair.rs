//! A judge and a Meta RM of its own in one process, maybe on one card.
//!
//! A judge takes all that is left of its card for keys and values, a Meta RM no more than it needs: so the Meta RM is loaded first. Where
//! it leaves the judge no room, the judge comes first all the same, since most of what is computed is its.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use jury_engine::DeviceKind;
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;
use jury_worker::backend::Backend;
use jury_worker::backend::engine::EngineBackend;
use jury_worker::backend::meta::MetaBackend;

/// Loads both. With `--device auto` each computes on the card where there is room, else on the CPU.
pub fn load_pair(
    judge: &ModelConfig,
    (meta, head): (&ModelConfig, Option<&Path>),
    meter: &Meter,
) -> Result<(Arc<EngineBackend>, Arc<MetaBackend>), Failed> {
    let ranks = meta.load_meta(meter, head)?;
    let draws = judge.load(meter).map_err(|failed| beside(failed, &ranks))?;
    let is_displaced =
        draws.device() == DeviceKind::Cpu && matches!(ranks.device(), DeviceKind::Cuda(_));
    // Adapters keep a judge on the CPU, whoever else is on the card.
    if !is_displaced || !judge.adapters.is_empty() {
        return Ok((draws, ranks));
    }
    tracing::info!("the card has no room for the judge beside its Meta RM: the judge goes first");
    drop(draws);
    if let Some(alone) = Arc::into_inner(ranks) {
        alone.end();
    }
    let draws = judge.load(meter)?;
    Ok((draws, meta.load_meta(meter, head)?))
}

/// Adds to the error of a judge who found no room on its card who else is there.
fn beside(failed: Failed, ranks: &MetaBackend) -> Failed {
    match ranks.device() {
        DeviceKind::Cuda(_) if failed.exit == Exit::Unavailable => {
            let name = ranks.info().model;
            let error = anyhow!(
                "{:#}; the Meta RM {name} is on the same card: --device auto puts one of the two on the CPU",
                failed.error
            );
            Failed { error, ..failed }
        }
        _ => failed,
    }
}
