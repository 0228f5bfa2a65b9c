//! The difference between two fleets: pure, for every directory that lists and watches.

use std::collections::BTreeMap;

use super::{Registration, Update};

/// Workers by id.
pub(super) type Fleet = BTreeMap<String, Registration>;

/// The updates that turn `old` into `new`; empty if they are equal.
pub(super) fn differences(old: &Fleet, new: &Fleet) -> Vec<Update> {
    let gone = old.keys().filter(|id| !new.contains_key(*id));
    let removed = gone.map(|id| Update::Removed(id.clone()));
    let changed = new.iter().filter(|(id, worker)| old.get(*id) != Some(worker));
    let added = changed.map(|(_, worker)| Update::Added(worker.clone()));
    removed.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_lead_from_any_fleet_to_any_other() {
        let fleet = |bits: u32, address: &str| -> Fleet {
            let ids = (0..4).filter(|n| bits & (1 << n) != 0);
            let worker =
                |n: i32| Registration { worker_id: n.to_string(), ..Registration::at(address) };
            ids.map(|n| (n.to_string(), worker(n))).collect()
        };
        for old_bits in 0..16 {
            for new_bits in 0..16 {
                for address in ["x:1", "y:1"] {
                    let (old, new) = (fleet(old_bits, "x:1"), fleet(new_bits, address));
                    let mut watcher = old.clone();
                    for update in differences(&old, &new) {
                        match update {
                            Update::Added(worker) => {
                                watcher.insert(worker.worker_id.clone(), worker);
                            }
                            Update::Removed(id) => assert!(watcher.remove(&id).is_some()),
                            Update::Reset(_) => panic!("differences are no list"),
                        }
                    }
                    assert_eq!(watcher, new);
                }
            }
        }
    }
}
