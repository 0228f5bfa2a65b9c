//! Exit codes of models that are not found, or do not load.

use jury_engine::LoadError;
use jury_engine::head::HeadError;
use jury_worker::backend::meta::MetaError;
use jury_worker::models::ModelError;

use crate::exit::{Exit, Failed};

/// Gives a model's error its exit code.
pub fn model_failed(error: ModelError) -> Failed {
    let exit = match error {
        ModelError::NotLoadable(error) => return load_failed(error),
        ModelError::Unknown { .. } => {
            let help = "`jury models list` tells what each is good for";
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

/// Gives the error of a model that does not load its exit code.
pub fn load_failed(error: LoadError) -> Failed {
    let exit = match &error {
        LoadError::Io { .. } => Exit::NoInput,
        LoadError::Device(_) => Exit::Unavailable,
        _ => Exit::BadData,
    };
    Failed::new(exit, error)
}

/// Gives the error of a model that cannot rank its exit code.
pub(super) fn meta_failed(error: MetaError) -> Failed {
    let exit = match error {
        MetaError::Load(error) => return load_failed(error),
        MetaError::Head { source: HeadError::Io { .. }, .. } => Exit::NoInput,
        MetaError::Head { .. } => Exit::BadData,
        _ => Exit::Usage,
    };
    Failed::new(exit, error)
}
