//! Which matrices get low-rank additions, and of what size.

use crate::error::TuneError;

/// Low-rank additions (LoRA, Hu et al. 2021).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LoraConfig {
    /// Rows of the inner matrix.
    pub rank: usize,
    /// The addition is multiplied by alpha / rank.
    pub alpha: f64,
    /// Which matrices, by transformers' names: [`LoraConfig::TARGETS`] or a subset.
    pub targets: Vec<String>,
}

// === impl LoraConfig ===

impl LoraConfig {
    /// All matrices of a layer.
    pub const TARGETS: [&str; 7] =
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

    /// Rank 16 and alpha 32 on all matrices.
    pub fn all_matrices() -> LoraConfig {
        let targets = Self::TARGETS.iter().map(|&target| target.to_owned()).collect();
        LoraConfig { rank: 16, alpha: 32.0, targets }
    }

    /// The factor of the addition.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    pub(super) fn is_target(&self, name: &str) -> bool {
        self.targets.iter().any(|target| name.rsplit('.').next() == Some(target))
    }

    /// # Errors
    /// [`TuneError::Setting`] for invalid numbers and unknown matrices.
    pub fn check(&self) -> Result<(), TuneError> {
        if self.rank == 0 || self.rank > 1024 {
            return Err(TuneError::setting("lora rank", "must be 1 to 1024"));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(TuneError::setting("lora alpha", "must be above 0"));
        }
        let unknown = |target: &&String| !Self::TARGETS.contains(&target.as_str());
        if let Some(target) = self.targets.iter().find(unknown) {
            let known = Self::TARGETS.join(", ");
            let why = format!("{target:?} is no matrix of a layer; there are {known}");
            return Err(TuneError::setting("--targets", why));
        }
        if self.targets.is_empty() {
            return Err(TuneError::setting("--targets", "name one at least"));
        }
        Ok(())
    }
}
