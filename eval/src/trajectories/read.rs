//! Reads trajectories from a file.

use std::fs::File;
use std::path::Path;

use jury_grm::domain::{Failure, Outcome, Sample, SampleSpec, Scores};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde::de::DeserializeOwned;

use super::{DrawnBy, Trajectory, TrajectoryError};

/// The problem with a column that does not exist.
const MISSING: &str = "is missing";

/// Reads all trajectories of a file. Unknown columns are ignored.
///
/// # Errors
/// [`TrajectoryError`], which does not name the file.
pub fn read(path: &Path) -> Result<Vec<Trajectory>, TrajectoryError> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    reader.get_row_iter(None)?.map(|row| Columns(&row?).trajectory()).collect()
}

/// One row, accessed by column name.
struct Columns<'a>(&'a Row);

// === impl Columns ===

impl Columns<'_> {
    fn trajectory(&self) -> Result<Trajectory, TrajectoryError> {
        let order = self.list("order", |field| match field {
            Field::Int(index) => usize::try_from(*index).ok(),
            _ => None,
        })?;
        Ok(Trajectory {
            item_id: self.text("item_id")?,
            query_key: self.text("query_key")?,
            source: self.optional_text("source")?,
            category: self.optional_text("category")?,
            sample: Sample {
                spec: SampleSpec {
                    index: self.count("index")?,
                    seed: match self.field("seed")? {
                        Field::Long(seed) => u64::try_from(*seed).map_err(|_| bad("seed"))?,
                        _ => return Err(bad("seed")),
                    },
                    order: order.ok_or_else(|| bad("order"))?,
                },
                principles: self.text("principles")?,
                critique: self.text("critique")?,
                outcome: self.outcome()?,
                finish: named("finish", &self.text("finish")?)?,
                issues: self
                    .text("issues")?
                    .split_whitespace()
                    .map(|issue| named("issues", issue))
                    .collect::<Result<_, _>>()?,
                prompt_tokens: self.count("prompt_tokens")?,
                generated_tokens: self.count("generated_tokens")?,
                meta_score: self.double("meta_score")?,
                hidden_state: self.list("hidden_state", |field| match field {
                    Field::Float(value) => Some(*value),
                    _ => None,
                })?,
            },
            is_correct: match self.field("is_correct")? {
                Field::Null => None,
                Field::Bool(value) => Some(*value),
                _ => return Err(bad("is_correct")),
            },
            drawn_by: DrawnBy {
                model: self.text("model")?,
                model_digest: self.text("model_digest")?,
                numerics: self.text("numerics")?,
                method_digest: self.text("method_digest")?,
                settings: self.text("settings")?,
                meta_digest: self.text_of_later("meta_digest")?,
                meta_numerics: self.text_of_later("meta_numerics")?,
            },
        })
    }

    /// A text in a column that older files lack.
    fn text_of_later(&self, column: &'static str) -> Result<Option<String>, TrajectoryError> {
        match self.optional_text(column) {
            Err(TrajectoryError::Column { problem, .. }) if problem == MISSING => Ok(None),
            found => found,
        }
    }

    /// The scores, or the failure in place of scores.
    fn outcome(&self) -> Result<Outcome, TrajectoryError> {
        let double = |field: &Field| match field {
            Field::Double(value) => Some(*value),
            _ => None,
        };
        let Some(scores) = self.list("scores", double)? else {
            let kind = self.optional_text("failure")?.ok_or_else(|| bad("failure"))?;
            let detail = self.optional_text("failure_detail")?.unwrap_or_default();
            return Ok(Outcome::Failed {
                failure: Failure { kind: named("failure", &kind)?, detail },
            });
        };
        let flat = self.list("score_distribution", double)?;
        let levels = match self.field("score_levels")? {
            Field::Null => 1,
            Field::Int(levels) => usize::try_from(*levels).unwrap_or(0).max(1),
            _ => return Err(bad("score_levels")),
        };
        let forced = matches!(self.field("forced")?, Field::Bool(true));
        Ok(Outcome::Scored(Scores {
            scores,
            score_distribution: flat.map(|flat| flat.chunks(levels).map(<[f64]>::to_vec).collect()),
            readout_mass: self.double("readout_mass")?,
            forced,
        }))
    }

    fn field(&self, name: &'static str) -> Result<&Field, TrajectoryError> {
        let found = self.0.get_column_iter().find(|(column, _)| *column == name);
        let missing = || TrajectoryError::Column { column: name, problem: MISSING.to_owned() };
        found.map(|(_, field)| field).ok_or_else(missing)
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, TrajectoryError> {
        match self.field(name)? {
            Field::Null => Ok(None),
            Field::Str(text) => Ok(Some(text.clone())),
            Field::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes.data()).map_err(|_| bad(name))?;
                Ok(Some(text.to_owned()))
            }
            _ => Err(bad(name)),
        }
    }

    fn text(&self, name: &'static str) -> Result<String, TrajectoryError> {
        self.optional_text(name)?.ok_or_else(|| bad(name))
    }

    fn count(&self, name: &'static str) -> Result<u32, TrajectoryError> {
        match self.field(name)? {
            Field::Int(count) => u32::try_from(*count).map_err(|_| bad(name)),
            _ => Err(bad(name)),
        }
    }

    fn double(&self, name: &'static str) -> Result<Option<f64>, TrajectoryError> {
        match self.field(name)? {
            Field::Null => Ok(None),
            Field::Double(value) => Ok(Some(*value)),
            _ => Err(bad(name)),
        }
    }

    fn list<T>(
        &self,
        name: &'static str,
        element: impl Fn(&Field) -> Option<T>,
    ) -> Result<Option<Vec<T>>, TrajectoryError> {
        match self.field(name)? {
            Field::Null => Ok(None),
            Field::ListInternal(list) => {
                let elements: Option<Vec<T>> = list.elements().iter().map(element).collect();
                elements.map(Some).ok_or_else(|| bad(name))
            }
            _ => Err(bad(name)),
        }
    }
}

fn named<T: DeserializeOwned>(column: &'static str, name: &str) -> Result<T, TrajectoryError> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).map_err(|_| {
        TrajectoryError::Column { column, problem: format!("holds {name:?}, which is not known") }
    })
}

fn bad(column: &'static str) -> TrajectoryError {
    TrajectoryError::Column { column, problem: "has another type".to_owned() }
}
