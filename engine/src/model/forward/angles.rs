//! Cosines and sines of all positions used so far, computed once, in double precision.

/// A table of angles that grows with the positions used.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    /// Positions x pairs.
    turns: Vec<[f32; 2]>,
    pairs: usize,
}

// === impl Angles ===

impl Angles {
    /// Makes the table long enough. There is one frequency per pair; cosines and sines are multiplied by `magnitude`.
    /// Both must be the same in every call.
    pub(crate) fn extend(&mut self, frequencies: &[f64], magnitude: f64, positions: usize) {
        self.pairs = frequencies.len();
        for position in self.turns.len() / self.pairs..positions {
            self.turns.extend(frequencies.iter().map(|frequency| {
                let angle = position as f64 * frequency;
                [libm::cos(angle), libm::sin(angle)].map(|value| (value * magnitude) as f32)
            }));
        }
    }

    /// Cosine and sine of each pair at one position.
    pub(crate) fn at(&self, position: usize) -> &[[f32; 2]] {
        &self.turns[position * self.pairs..][..self.pairs]
    }
}
