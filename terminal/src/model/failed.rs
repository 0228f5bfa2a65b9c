//! Exit codes for models that are not found or do not load.

use jury_engine::LoadError;
use jury_engine::head::HeadError;
use jury_worker::backend::meta::MetaError;
use jury_worker::models::ModelError;

use crate::exit::{Exit, Failed};

/// Attaches the exit code to a model's error.
pub fn model_failed(error: ModelError) -> Failed {
    let exit = match error {
        ModelError::NotLoadable(error) => return load_failed(error),
        ModelError::Unknown { .. } => {
            let help = "`jury models list` describes each of them";
            return Failed::new(Exit::Usage, anyhow::anyhow!("{error}; {help}"));
        }
        ModelError::MalformedHubReference { .. } | ModelError::NoFolder => Exit::Usage,
        ModelError::NoSuchFile { .. } => Exit::NoInput,
        ModelError::WrongDigest { .. } => Exit::BadData,
        ModelError::Unavailable { .. } | ModelError::Hub { .. } => Exit::Unavailable,
        _ => Exit::CannotWrite,
    };
    Failed::new(exit, error)
}

/// Attaches the exit code to the error of a model that does not load.
pub fn load_failed(error: LoadError) -> Failed {
    let exit = match &error {
        LoadError::Io { .. } => Exit::NoInput,
        LoadError::Device(_) => Exit::Unavailable,
        _ => Exit::BadData,
    };
    Failed::new(exit, error)
}

/// Attaches the exit code to the error of a model that cannot rank.
pub(super) fn meta_failed(error: MetaError) -> Failed {
    let exit = match error {
        MetaError::Load(error) => return load_failed(error),
        MetaError::Head { source: HeadError::Io { .. }, .. } => Exit::NoInput,
        MetaError::Head { .. } => Exit::BadData,
        _ => Exit::Usage,
    };
    Failed::new(exit, error)
}
