//! A judge and a separate Meta RM in one process, possibly on one GPU.
//!
//! A judge takes all remaining memory of its GPU for keys and values, a Meta RM only what it needs, so the Meta RM is
//! loaded first. If that leaves no room for the judge, the judge takes precedence after all, since it does most of the
//! work.

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

/// Loads both. With `--device auto`, each uses the GPU if it has room, else the CPU.
pub fn load_pair(
    judge: &ModelConfig,
    (meta, head): (&ModelConfig, Option<&Path>),
    meter: &Meter,
) -> Result<(Arc<EngineBackend>, Arc<MetaBackend>), Failed> {
    let ranks = meta.load_meta(meter, head)?;
    let draws = judge.load(meter).map_err(|failed| beside(failed, &ranks))?;
    let is_displaced =
        draws.device() == DeviceKind::Cpu && matches!(ranks.device(), DeviceKind::Cuda(_));
    // A judge with adapters stays on the CPU, whatever else is on the GPU.
    if !is_displaced || !judge.adapters.is_empty() {
        return Ok((draws, ranks));
    }
    tracing::info!(
        "the GPU has no room for both the judge and its Meta RM: loading the judge first"
    );
    drop(draws);
    if let Some(alone) = Arc::into_inner(ranks) {
        alone.end();
    }
    let draws = judge.load(meter)?;
    Ok((draws, meta.load_meta(meter, head)?))
}

/// Mentions the Meta RM on the same GPU in the error of a judge that has no room there.
fn beside(failed: Failed, ranks: &MetaBackend) -> Failed {
    match ranks.device() {
        DeviceKind::Cuda(_) if failed.exit == Exit::Unavailable => {
            let name = ranks.info().model;
            let error = anyhow!(
                "{:#}; the Meta RM {name} is on the same GPU: --device auto puts one of the two on the CPU",
                failed.error
            );
            Failed { error, ..failed }
        }
        _ => failed,
    }
}
