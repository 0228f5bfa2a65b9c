//! Models small enough to be written by a test, as GGUF files and as folders, and the configurations of published
//! models.

mod damaged;
mod latent;
mod listing;
mod metadata;
pub(super) mod published;
mod same;
mod truncated;
mod written;
