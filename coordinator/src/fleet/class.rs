//! Classes of workers whose samples may share a vote.

use jury_grm::domain::Reproducible;
use jury_proto::convert::{WorkerInfo, WorkerRole};

/// Workers of one role that produce the same bytes for the same sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerClass {
    /// The role of its workers.
    pub role: WorkerRole,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the model's file, hex.
    pub model_digest: String,
    /// Class of arithmetic.
    pub numerics: String,
    /// Version of the parser and guide.
    pub method_version: String,
    /// How far a repeated sample is reproducible.
    pub reproducible: Reproducible,
}

/// Why no class can serve a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoClass {
    /// No worker is present (yet).
    #[error("no worker can be reached{}", list(" (known: ", .known, ")"))]
    NoWorker {
        /// Workers that are known but accept no samples: their ids, and why.
        known: Vec<String>,
    },
    /// Workers are present, but none serves this model.
    #[error("no worker serves model {model:?}{}", list("; the fleet serves ", .serves, ""))]
    UnknownModel {
        /// The model asked for.
        model: String,
        /// Models that are served.
        serves: Vec<String>,
    },
    /// The request names no model, and the fleet serves several.
    #[error("the fleet serves several models, name one of them{}", list(": ", .serves, ""))]
    Ambiguous {
        /// Models that are served.
        serves: Vec<String>,
    },
}

// === impl WorkerClass ===

impl WorkerClass {
    /// The class of a worker in one of its roles, with one of its models: a name and a digest.
    pub fn of(info: &WorkerInfo, role: WorkerRole, (model, model_digest): (&str, &str)) -> Self {
        Self {
            role,
            model: model.to_owned(),
            model_digest: model_digest.to_owned(),
            numerics: info.numerics.clone(),
            method_version: info.method_version.clone(),
            reproducible: info.reproducible,
        }
    }

    /// True for a worker that belongs to this class.
    pub fn includes(&self, info: &WorkerInfo) -> bool {
        info.roles.contains(&self.role)
            && info.models().any(|model| model == (&self.model, &self.model_digest))
            && info.numerics == self.numerics
            && info.method_version == self.method_version
    }
}

fn list(before: &str, names: &[String], after: &str) -> String {
    if names.is_empty() { String::new() } else { format!("{before}{}{after}", names.join(", ")) }
}
