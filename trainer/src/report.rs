//! What a run leaves for people: `report.json`, and its curves as pictures.

use std::path::Path;

use jury_eval::picture::{png, svg};
use serde::Serialize;

use crate::durable::replace;
use crate::error::TuneError;
use crate::plot::Curves;

/// Writes `report.json`, `curves` as `name.svg` and `name.png`.
///
/// # Errors
/// A picture cannot be drawn or a file not be written.
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
