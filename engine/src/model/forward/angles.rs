//! Cosines and sines of all positions met so far, computed once, in double precision.

/// A table of angles, grown as positions come.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    /// Positions x pairs.
    turns: Vec<[f32; 2]>,
    pairs: usize,
}

// === impl Angles ===

impl Angles {
    /// Makes the table long enough. `frequencies` are one for each pair; cosines and sines are multiplied by
    /// `magnitude`. Both are the same in every call.
    pub(crate) fn extend(&mut self, frequencies: &[f64], magnitude: f64, positions: usize) {
        self.pairs = frequencies.len();
        for position in self.turns.len() / self.pairs..positions {
            self.turns.extend(frequencies.iter().map(|frequency| {
                let angle = position as f64 * frequency;
                [libm::cos(angle), libm::sin(angle)].map(|value| (value * magnitude) as f32)
            }));
        }
    }

    /// Of one position, a turn for each pair.
    pub(crate) fn at(&self, position: usize) -> &[[f32; 2]] {
        &self.turns[position * self.pairs..][..self.pairs]
    }
}
