//! Splits rows into those for training and those for evaluation. All rows of one query are in the same part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What rows are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Weights are fitted to them.
    Train,
    /// For deciding when to stop, and for calibration.
    Validation,
    /// Only for measuring how good the head is.
    Test,
}

/// Shares of the queries; the rest is for training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Above 0.
    pub validation: f64,
    /// Above 0.
    pub test: f64,
}

// === impl Part ===

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "training",
            Part::Validation => "validation",
            Part::Test => "test",
        })
    }
}

// === impl Shares ===

impl Default for Shares {
    fn default() -> Self {
        Self { validation: 0.2, test: 0.2 }
    }
}

/// The part of each row, by the key of its query. Queries are ordered by a seeded hash, so that neither the order nor
/// the number of rows determines where a query goes.
pub fn split<'a>(
    queries: impl Iterator<Item = &'a str> + Clone,
    shares: Shares,
    seed: u64,
) -> Vec<Part> {
    let distinct: BTreeSet<&str> = queries.clone().collect();
    let mut hashed: Vec<([u8; 32], &str)> = distinct
        .into_iter()
        .map(|query| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes()).update(query.as_bytes());
            (*hasher.finalize().as_bytes(), query)
        })
        .collect();
    hashed.sort_unstable();
    let n = hashed.len() as f64;
    let n_test = (n * shares.test).round() as usize;
    let n_validation = (n * shares.validation).round() as usize;
    let part = |place: usize| match place {
        _ if place < n_test => Part::Test,
        _ if place < n_test + n_validation => Part::Validation,
        _ => Part::Train,
    };
    let parts: BTreeMap<&str, Part> =
        hashed.iter().enumerate().map(|(place, (_, query))| (*query, part(place))).collect();
    queries.map(|query| parts[query]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_stands_in_two_parts_and_shares_are_kept() {
        let queries: Vec<String> = (0..300).map(|row| format!("query {}", row % 100)).collect();
        let parts = split(queries.iter().map(String::as_str), Shares::default(), 7);
        let mut parts_of: BTreeMap<&str, BTreeSet<Part>> = BTreeMap::new();
        for (query, part) in queries.iter().zip(&parts) {
            parts_of.entry(query).or_default().insert(*part);
        }
        assert!(parts_of.values().all(|parts| parts.len() == 1));
        let count = |part| parts.iter().filter(|of| **of == part).count();
        assert_eq!([Part::Train, Part::Validation, Part::Test].map(count), [180, 60, 60]);
    }

    #[test]
    fn the_seed_decides_and_the_order_of_rows_does_not() {
        let queries: Vec<String> = (0..50).map(|row| format!("query {row}")).collect();
        let forward = split(queries.iter().map(String::as_str), Shares::default(), 1);
        let mut backward = split(queries.iter().rev().map(String::as_str), Shares::default(), 1);
        backward.reverse();
        assert_eq!(forward, backward);
        assert_ne!(forward, split(queries.iter().map(String::as_str), Shares::default(), 2));
    }
}
