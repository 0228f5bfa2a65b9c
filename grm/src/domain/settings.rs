//! How samples are drawn: the settings that determine a sample's bytes together with prompt and seed.

use serde::{Deserialize, Serialize};

/// How every sample of a request is drawn. All fields are part of a sample's identity.
///
/// When read from JSON, fields that are absent or null take their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenSettings")]
pub struct Settings {
    /// Samples to draw, 1..=[`super::limits::MAX_K`].
    pub k: u32,
    /// Softmax temperature, 0..=2; 0 is greedy. The paper samples at 0.5 (section 5.1).
    pub temperature: f64,
    /// Nucleus mass, in (0, 1].
    pub top_p: f64,
    /// Maximum tokens of principles and critique before a read-out is forced (guided) or the sample ends (free).
    /// 1..=[`super::limits::MAX_CRITIQUE_TOKENS`].
    pub max_critique_tokens: u32,
    /// How scores are read.
    pub readout: Readout,
    /// A guided read-out fails if the model gave the legal scores less than this probability, 0..=1.
    pub min_readout_mass: f64,
    /// The legal scores.
    pub scale: Scale,
    /// Maximum number of responses shown in one sample; more are split into balanced panels. 2..=64.
    pub max_panel: u32,
}

/// Settings as written in JSON.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct WrittenSettings {
    k: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_critique_tokens: Option<u32>,
    readout: Option<Readout>,
    min_readout_mass: Option<f64>,
    scale: Option<Scale>,
    max_panel: Option<u32>,
}

/// How scores are read from a sample.
///
/// One choice rather than two flags: an expected score exists only if the engine reads a distribution itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readout {
    /// The model writes its own score box, which is parsed.
    Free,
    /// Guided: the engine writes the score line and samples each score from the legal ones.
    Sampled,
    /// Guided: each score is the mean of its distribution over the legal ones.
    Expected,
}

/// The legal scores: every integer from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// Lowest legal score.
    pub min: i32,
    /// Highest legal score.
    pub max: i32,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            k: 8,
            temperature: 0.5,
            top_p: 1.0,
            max_critique_tokens: 512,
            readout: Readout::Expected,
            min_readout_mass: 0.01,
            scale: Scale::POINTWISE,
            max_panel: 8,
        }
    }
}

impl From<WrittenSettings> for Settings {
    fn from(written: WrittenSettings) -> Self {
        let default = Self::default();
        Self {
            k: written.k.unwrap_or(default.k),
            temperature: written.temperature.unwrap_or(default.temperature),
            top_p: written.top_p.unwrap_or(default.top_p),
            max_critique_tokens: written.max_critique_tokens.unwrap_or(default.max_critique_tokens),
            readout: written.readout.unwrap_or(default.readout),
            min_readout_mass: written.min_readout_mass.unwrap_or(default.min_readout_mass),
            scale: written.scale.unwrap_or(default.scale),
            max_panel: written.max_panel.unwrap_or(default.max_panel),
        }
    }
}

// === impl Readout ===

impl Readout {
    /// True when the engine writes the score line itself.
    pub fn is_guided(self) -> bool {
        self != Self::Free
    }
}

// === impl Scale ===

impl Scale {
    /// 1..10, the scale of the paper's pointwise model (section 2.1).
    pub const POINTWISE: Self = Self { min: 1, max: 10 };
    /// 0..1, used by SPCT's single-response training (section 3.2).
    pub const BINARY: Self = Self { min: 0, max: 1 };

    /// Largest difference between two scores.
    pub fn width(self) -> f64 {
        f64::from(self.max) - f64::from(self.min)
    }

    /// True for a score that this scale allows, whole or (expected read-out) fractional.
    pub fn contains(self, score: f64) -> bool {
        score >= f64::from(self.min) && score <= f64::from(self.max)
    }

    /// The position of `score` between the two ends, 0..=1; a score outside counts as the nearer end.
    pub fn share_of(self, score: f64) -> f64 {
        ((score - f64::from(self.min)) / self.width()).clamp(0.0, 1.0)
    }

    /// The legal scores as text, lowest first.
    pub fn choices(self) -> Vec<String> {
        (self.min..=self.max).map(|score| score.to_string()).collect()
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self::POINTWISE
    }
}
