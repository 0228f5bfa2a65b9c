//! Trains a Meta RM as a head: from hidden states of samples, and whether each was correct, to `head.safetensors`.
//!
//! ```text
//! judged items -> rows                                                     label.rs
//!      -> split by query: train, validation, test                          split.rs
//!      -> standardise, fit by AdamW on binary cross-entropy                 fit.rs, network.rs, adamw.rs
//!         until the validation loss grows; classes weigh the same
//!      -> calibrate on validation (Platt)                                   platt.rs
//!      -> AUC on test, with an interval clustered by query                  auc.rs
//!      -> the head, a report, a model card with pictures                    card.rs, plot.rs
//! ```
//!
//! The method is the paper's (section 3.2: a pointwise scalar model, binary cross-entropy, label 1 for a correct
//! sample), applied to hidden states that the judging model computes anyway. The code reads no clock and does not use
//! the machine's own `exp`: equal rows and settings give equal bytes.

mod adamw;
mod auc;
mod card;
mod error;
mod fit;
mod label;
mod network;
mod platt;
mod plot;
mod report;
mod split;
mod standardise;

use std::path::{Path, PathBuf};

use jury_engine::head::{Calibration, Head, HeadCard, StatePlace};
use jury_eval::{picture, whole_file};

pub use auc::AucInterval;
pub use error::{JudgeError, TrainError};
pub use label::{label, label_all, only_judge};
pub use report::{EpochLoss, MetaReport, PartReport, ReliabilityBin};
pub use split::{Part, Shares, split};

use fit::Fitted;

/// One sample that was drawn and labelled.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledState {
    /// The item that was judged.
    pub item: String,
    /// Key of its query, normalised: rows with the same key are never in two parts.
    pub query: String,
    /// A hidden state for the sample: the judging model's own, or that of another model that read it
    /// ([`StatePlace`]).
    pub state: Vec<f32>,
    /// Whether the sample was correct: the true best strictly highest, or the score equal to the label.
    pub correct: bool,
}

/// What is trained, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaConfig {
    /// The name by which requests will ask for the head.
    pub name: String,
    /// SHA-256 of the model whose states the rows are, hex.
    pub model_digest: String,
    /// The position of these states.
    pub place: StatePlace,
    /// Size of the inner layer; 0 for none, which makes the head linear.
    pub inner: usize,
    /// Determines the split, the initial weights, the order of the rows and the bootstrap.
    pub seed: u64,
    /// How queries are split.
    pub shares: Shares,
    /// Step size of AdamW.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW; biases do not decay.
    pub weight_decay: f64,
    /// Rows per step.
    pub batch: usize,
    /// Maximum number of passes over the training rows.
    pub max_epochs: usize,
    /// Training ends after this many passes without a lower validation loss.
    pub patience: usize,
    /// How the rows were drawn, for the model card; `None` if unknown.
    pub sampling: Option<Sampling>,
}

/// How the samples behind the rows were drawn. It does not influence the head.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// The judge that drew them.
    pub judge: String,
    /// The files of its items.
    pub items: Vec<String>,
    /// Which part of those items.
    pub part: String,
    /// Determines which queries are in which part, and which items remain under a limit.
    pub split_seed: u64,
    /// Samples per item.
    pub k: u32,
    /// Softmax temperature.
    pub temperature: f64,
    /// Longest critique.
    pub max_critique_tokens: u32,
    /// Seed of every request.
    pub seed: u64,
}

/// A trained head, and how well it performs.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedMeta {
    /// The head, calibrated.
    pub head: Head,
    /// How well it performs.
    pub report: MetaReport,
}

// === impl MetaConfig ===

impl MetaConfig {
    /// A linear head, with settings that suit a few thousand rows.
    pub fn new(name: impl Into<String>, model_digest: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            model_digest: model_digest.into(),
            place: StatePlace::default(),
            inner: 0,
            seed: 0,
            shares: Shares::default(),
            learning_rate: 1e-3,
            weight_decay: 0.05,
            batch: 64,
            max_epochs: 200,
            patience: 10,
            sampling: None,
        }
    }
}

/// Trains a head on `rows`, and passes the losses of each epoch to `on_epoch` when it ends.
///
/// # Errors
/// [`TrainError`] for rows that nothing can be learned from, and for invalid settings.
pub fn train(
    rows: &[LabelledState],
    config: &MetaConfig,
    mut on_epoch: impl FnMut(&EpochLoss),
) -> Result<TrainedMeta, TrainError> {
    check(rows, config)?;
    let parts = split(rows.iter().map(|row| row.query.as_str()), config.shares, config.seed);
    let of_part = |part| -> Vec<&LabelledState> {
        let rows = rows.iter().zip(&parts).filter(|(_, of)| **of == part);
        rows.map(|(row, _)| row).collect()
    };
    let [train, validation, test] = [Part::Train, Part::Validation, Part::Test].map(of_part);
    for (part, rows) in
        [(Part::Train, &train), (Part::Validation, &validation), (Part::Test, &test)]
    {
        if PartReport::of(rows).is_of_one_kind() {
            return Err(TrainError::OneKind { part, rows: rows.len() });
        }
    }
    let standardisation = standardise::of(&train);
    let Fitted { network, curve, best_epoch } =
        fit::fit(&train, &validation, &standardisation, config, &mut on_epoch);

    let card = HeadCard {
        name: config.name.clone(),
        model_digest: config.model_digest.clone(),
        data_digest: Some(data_digest(rows)),
        place: config.place,
    };
    let of = |calibration| {
        Head::new(card.clone(), standardisation.clone(), network.clone(), calibration)
    };
    let raw = of(Calibration::NONE)?;
    let calibration = platt::calibrate(&scores(&raw, &validation)?, &labels(&validation));
    let head = of(calibration)?;
    let scores = scores(&head, &test)?;
    let reliability = platt::reliability(&scores, &labels(&test));
    let report = MetaReport {
        config: config.clone(),
        width: head.width(),
        data_digest: data_digest(rows),
        train: PartReport::of(&train),
        validation: PartReport::of(&validation),
        test: PartReport::of(&test),
        auc: auc::interval(&test, &scores, config.seed),
        auc_within_item: auc::interval_within_item(&test, &scores, config.seed),
        calibration_error: platt::expected_error(&reliability),
        reliability,
        best_epoch,
        curve,
    };
    Ok(TrainedMeta { head, report })
}

/// Digest of rows, hex: of every label, key and bit of a state, in order.
pub fn data_digest(rows: &[LabelledState]) -> String {
    let mut hasher = blake3::Hasher::new();
    for LabelledState { item, query, state, correct } in rows {
        for text in [item, query] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.update(&[u8::from(*correct)]).update(&(state.len() as u64).to_le_bytes());
        state.iter().for_each(|number| {
            hasher.update(&number.to_le_bytes());
        });
    }
    hasher.finalize().to_hex().to_string()
}

// === impl TrainedMeta ===

impl TrainedMeta {
    /// Writes the head to `path`. Next to it, writes its card, `<path>.md`, with the pictures that the card shows:
    /// `<path>.loss` and `<path>.reliability`, each as `.svg` and `.png`. Each file is written completely or not at
    /// all.
    ///
    /// # Errors
    /// [`TrainError::Io`] with the file that could not be written, [`TrainError::Picture`].
    pub fn write(&self, path: &Path) -> Result<PathBuf, TrainError> {
        let put = |path: &Path, bytes: &[u8]| {
            let io = |source| TrainError::Io { path: path.to_owned(), source };
            whole_file::write(path, bytes).map_err(io)
        };
        let losses = plot::Losses(&self.report);
        let reliability = plot::Reliability(&self.report);
        for (ending, svg, png) in [
            (".loss", picture::svg(&losses)?, picture::png(&losses)?),
            (".reliability", picture::svg(&reliability)?, picture::png(&reliability)?),
        ] {
            put(&with_ending(path, &format!("{ending}.svg")), svg.as_bytes())?;
            put(&with_ending(path, &format!("{ending}.png")), &png)?;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let card = with_ending(path, ".md");
        put(&card, self.report.to_markdown(&name.unwrap_or_default()).as_bytes())?;
        put(path, &self.head.to_bytes())?;
        Ok(card)
    }
}

// === private ===

fn check(rows: &[LabelledState], config: &MetaConfig) -> Result<(), TrainError> {
    let first = rows.first().ok_or(TrainError::NoRows)?;
    let width = first.state.len();
    for (row, LabelledState { state, .. }) in rows.iter().enumerate() {
        if state.len() != width || width == 0 {
            return Err(TrainError::WrongWidth { row, found: state.len(), expected: width });
        }
        if !state.iter().all(|number| number.is_finite()) {
            return Err(TrainError::NotANumber { row });
        }
    }
    let positive = |number: f64| number > 0.0 && number.is_finite();
    let setting = |field, why: &str| Err(TrainError::Setting { field, why: why.to_owned() });
    if !positive(config.learning_rate) {
        return setting("learning_rate", "must be above 0");
    }
    if !(config.weight_decay >= 0.0 && config.weight_decay.is_finite()) {
        return setting("weight_decay", "must be at least 0");
    }
    if config.batch == 0 || config.max_epochs == 0 || config.patience == 0 {
        return setting("batch, max_epochs, patience", "must be at least 1");
    }
    let Shares { validation, test } = config.shares;
    if !(positive(validation) && positive(test) && validation + test < 1.0) {
        return setting("shares", "must each be above 0 and leave rows to train on");
    }
    Ok(())
}

fn scores(head: &Head, rows: &[&LabelledState]) -> Result<Vec<f64>, TrainError> {
    Ok(rows.iter().map(|row| head.score(&row.state)).collect::<Result<_, _>>()?)
}

fn labels(rows: &[&LabelledState]) -> Vec<bool> {
    rows.iter().map(|row| row.correct).collect()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
