//! The rule of reinforcement learning, for trainers at scale: the function by which `jury train rl` rewards.

use jury_grm::correct::outcome_reward_of;
use jury_grm::domain::Item;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// +1.0 or -1.0, and whether the text had scores that could be read. `item` is an item as JSON, `order` the indices of
/// its responses as they were shown.
#[pyfunction]
pub fn outcome_reward(item: &str, order: Vec<usize>, text: &str) -> PyResult<(f64, bool)> {
    let (item, _) = Item::from_json(item).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let reward = outcome_reward_of(&item, &order, text)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((reward.value, reward.is_readable))
}
