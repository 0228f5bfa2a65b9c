//! Statistics that support claims: everything is resampled by query, because items of one query are not independent.

mod auc;
mod bootstrap;

pub use auc::{Row, auc, auc_of_clusters};
pub use bootstrap::{Clusters, Interval, N_RESAMPLES, Paired};
