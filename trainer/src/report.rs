//! The results of a run for people: `report.json`, and its curves as pictures.

use std::path::Path;

use jury_eval::picture::{png, svg};
use serde::Serialize;

use crate::durable::replace;
use crate::error::TuneError;
use crate::plot::Curves;

/// Writes `report.json`, and `curves` as `name.svg` and `name.png`.
///
/// # Errors
/// If a picture cannot be drawn or a file cannot be written.
pub fn write(
    folder: &Path,
    report: &impl Serialize,
    name: &str,
    curves: &Curves,
) -> Result<(), TuneError> {
    replace(&folder.join(format!("{name}.svg")), svg(curves)?.as_bytes())?;
    replace(&folder.join(format!("{name}.png")), &png(curves)?)?;
    let mut text = serde_json::to_string_pretty(report).map_err(TuneError::Report)?;
    text.push('\n');
    replace(&folder.join("report.json"), text.as_bytes())
}
