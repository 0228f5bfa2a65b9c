//! Writes trajectories to a file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jury_grm::domain::Scores;
use parquet::basic::Compression;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::lists::{Column, lists, optional};
use super::schema::schema;
use super::{Trajectory, TrajectoryError};
use crate::whole_file;

/// Rows per row group: a group is held in memory while it is written.
const GROUP_ROWS: usize = 4096;

/// Writes all trajectories to `path`; an existing file is replaced only once the new one is complete.
///
/// # Errors
/// [`TrajectoryError::Io`] and [`TrajectoryError::Parquet`].
pub fn write(path: &Path, trajectories: &[Trajectory]) -> Result<(), TrajectoryError> {
    whole_file::write_by(path, |file| {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer =
            SerializedFileWriter::new(file.try_clone()?, schema(), Arc::new(properties))?;
        for rows in trajectories.chunks(GROUP_ROWS) {
            let mut group = writer.next_row_group()?;
            columns(&mut group, rows)?;
            group.close()?;
        }
        writer.close()?;
        Ok(())
    })
}

type Group<'a> = SerializedRowGroupWriter<'a, File>;

/// In the order of the schema, because Parquet writes one column after another.
fn columns(group: &mut Group<'_>, rows: &[Trajectory]) -> Result<(), TrajectoryError> {
    text(group, rows, |row| &row.item_id)?;
    text(group, rows, |row| &row.query_key)?;
    optional_text(group, rows, |row| row.source.as_deref())?;
    optional_text(group, rows, |row| row.category.as_deref())?;
    required::<Int32Type>(group, rows, |row| signed(row.sample.spec.index))?;
    // Seeds are below 2^53.
    required::<Int64Type>(group, rows, |row| row.sample.spec.seed as i64)?;
    list::<Int32Type>(group, rows, false, |row| {
        Some(row.sample.spec.order.iter().map(|index| *index as i32).collect())
    })?;
    text(group, rows, |row| &row.sample.principles)?;
    text(group, rows, |row| &row.sample.critique)?;
    list::<DoubleType>(group, rows, true, |row| Some(row.sample.scores()?.scores.clone()))?;
    maybe::<Int32Type>(group, rows, |row| {
        distribution(row.sample.scores()?).map(|(levels, _)| levels as i32)
    })?;
    list::<DoubleType>(group, rows, true, |row| {
        distribution(row.sample.scores()?).map(|(_, flat)| flat)
    })?;
    maybe::<DoubleType>(group, rows, |row| row.sample.scores()?.readout_mass)?;
    required::<BoolType>(group, rows, |row| {
        row.sample.scores().is_some_and(|scores| scores.forced)
    })?;
    optional_string(group, rows, |row| Some(name(&row.sample.failure()?.kind)))?;
    optional_text(group, rows, |row| Some(&row.sample.failure()?.detail))?;
    string(group, rows, |row| name(&row.sample.finish))?;
    string(group, rows, |row| row.sample.issues.iter().map(name).collect::<Vec<_>>().join(" "))?;
    required::<Int32Type>(group, rows, |row| signed(row.sample.prompt_tokens))?;
    required::<Int32Type>(group, rows, |row| signed(row.sample.generated_tokens))?;
    maybe::<DoubleType>(group, rows, |row| row.sample.meta_score)?;
    list::<FloatType>(group, rows, true, |row| row.sample.hidden_state.clone())?;
    maybe::<BoolType>(group, rows, |row| row.is_correct)?;
    text(group, rows, |row| &row.drawn_by.model)?;
    text(group, rows, |row| &row.drawn_by.model_digest)?;
    text(group, rows, |row| &row.drawn_by.numerics)?;
    text(group, rows, |row| &row.drawn_by.method_digest)?;
    text(group, rows, |row| &row.drawn_by.settings)?;
    optional_text(group, rows, |row| row.drawn_by.meta_digest.as_deref())?;
    optional_text(group, rows, |row| row.drawn_by.meta_numerics.as_deref())
}

/// All distributions of a sample, concatenated, and how many probabilities each has.
fn distribution(scores: &Scores) -> Option<(usize, Vec<f64>)> {
    let distributions = scores.score_distribution.as_ref()?;
    Some((distributions.first()?.len(), distributions.concat()))
}

/// A name as used in JSON.
fn name<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn signed(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn put<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), TrajectoryError> {
    let mut column =
        group.next_column()?.expect("there are as many columns as calls: a test writes them");
    column.typed::<T>().write_batch(values, definition, repetition)?;
    Ok(column.close()?)
}

fn required<T: DataType>(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    value: impl Fn(&Trajectory) -> T::T,
) -> Result<(), TrajectoryError> {
    put::<T>(group, &rows.iter().map(value).collect::<Vec<_>>(), None, None)
}

fn maybe<T: DataType>(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    value: impl Fn(&Trajectory) -> Option<T::T>,
) -> Result<(), TrajectoryError> {
    let Column { values, definition, .. } = optional(rows.iter().map(value));
    put::<T>(group, &values, Some(&definition), None)
}

fn list<T: DataType>(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    is_optional: bool,
    values: impl Fn(&Trajectory) -> Option<Vec<T::T>>,
) -> Result<(), TrajectoryError> {
    let Column { values, definition, repetition } = lists(is_optional, rows.iter().map(values));
    put::<T>(group, &values, Some(&definition), Some(&repetition))
}

fn text(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    value: impl Fn(&Trajectory) -> &str,
) -> Result<(), TrajectoryError> {
    required::<ByteArrayType>(group, rows, |row| ByteArray::from(value(row)))
}

fn string(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    value: impl Fn(&Trajectory) -> String,
) -> Result<(), TrajectoryError> {
    required::<ByteArrayType>(group, rows, |row| ByteArray::from(value(row).into_bytes()))
}

fn optional_text(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    value: impl Fn(&Trajectory) -> Option<&str>,
) -> Result<(), TrajectoryError> {
    maybe::<ByteArrayType>(group, rows, |row| value(row).map(ByteArray::from))
}

fn optional_string(
    group: &mut Group<'_>,
    rows: &[Trajectory],
    value: impl Fn(&Trajectory) -> Option<String>,
) -> Result<(), TrajectoryError> {
    maybe::<ByteArrayType>(group, rows, |row| Some(ByteArray::from(value(row)?.into_bytes())))
}
