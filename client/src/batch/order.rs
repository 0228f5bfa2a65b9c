//! Verdicts in the order of their items, though they come as they are ready. Pure.

use std::collections::BTreeMap;

/// Holds back what came before its turn. Bounded by what is judged while the next one in turn is,
/// which has a budget.
#[derive(Debug)]
pub struct InOrder<T> {
    /// The place whose turn it is.
    next: u64,
    /// What came early. `None` takes its turn without output.
    early: BTreeMap<u64, Option<T>>,
}

// === impl InOrder ===

impl<T> InOrder<T> {
    pub fn new() -> Self {
        Self { next: 0, early: BTreeMap::new() }
    }

    /// True when nothing that is before `place` is still to come.
    pub fn is_turn_of(&self, place: u64) -> bool {
        self.next == place
    }

    /// Takes what came for `place`, and gives back all whose turn it now is.
    pub fn put(&mut self, place: u64, value: Option<T>) -> Vec<T> {
        self.early.insert(place, value);
        let mut in_turn = Vec::new();
        while let Some(value) = self.early.remove(&self.next) {
            self.next += 1;
            in_turn.extend(value);
        }
        in_turn
    }

    /// Takes out everything that is held back, in order, when no more will come.
    pub fn take_rest(&mut self) -> Vec<T> {
        std::mem::take(&mut self.early).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_out_once_and_in_order() {
        let mut order = InOrder::new();
        assert!(order.put(2, Some('c')).is_empty());
        assert!(order.put(1, Some('b')).is_empty());
        assert!(order.is_turn_of(0) && !order.is_turn_of(3));
        assert_eq!(order.put(0, Some('a')), ['a', 'b', 'c']);
        assert_eq!(order.put(3, Some('d')), ['d']);
    }

    #[test]
    fn a_place_without_output_does_not_hold_the_others_back() {
        let mut order = InOrder::new();
        assert!(order.put(1, Some('b')).is_empty());
        assert_eq!(order.put(0, None), ['b']);
    }

    #[test]
    fn what_was_held_back_at_the_end_is_not_lost() {
        let mut order = InOrder::new();
        order.put(3, Some('d'));
        order.put(1, Some('b'));
        assert_eq!(order.take_rest(), ['b', 'd']);
    }
}
