//! Converts a tensor's rows to the card's types, on all threads of the host: a large model has billions of weights.

use jury_kernels::blocks::BlockType;
use jury_kernels::cuda::{Bf16, quantise_eight};

use crate::machine;

/// Rows of one type, as stored in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileRows<'a> {
    pub(super) kind: BlockType,
    pub(super) inputs: usize,
    pub(super) bytes: &'a [u8],
}

// === impl FileRows ===

impl FileRows<'_> {
    /// Rounds them to bfloat16, one number per element of `out`; returns whether all are finite after rounding.
    pub(super) fn round(self, out: &mut [Bf16]) -> bool {
        self.by_threads(machine::threads(), out, &mut [(); 0], &|row, out, _| {
            out.iter_mut().zip(row).for_each(|(to, &from)| *to = Bf16::from_f32(from));
            out.iter().all(|number| number.is_finite())
        })
    }

    /// Rounds them to 8 bits: one byte per number, and one scale for every 128 inputs of a row. Returns whether all
    /// were finite.
    pub(super) fn quantise(self, bytes: &mut [u8], scales: &mut [f32]) -> bool {
        self.by_threads(machine::threads(), bytes, scales, &|row, bytes, scales| {
            quantise_eight(row, bytes, scales);
            row.iter().all(|number| number.is_finite())
        })
    }

    /// Calls `put` with every row's floats and the matching parts of both outputs. Returns whether all calls returned
    /// true.
    fn by_threads<A: Send, B: Send>(
        self,
        threads: usize,
        first: &mut [A],
        second: &mut [B],
        put: &(impl Fn(&[f32], &mut [A], &mut [B]) -> bool + Sync),
    ) -> bool {
        let row_bytes = self.kind.row_bytes(self.inputs);
        let rows = self.bytes.len() / row_bytes.max(1);
        if rows == 0 {
            return true;
        }
        let (a, b) = (first.len() / rows, second.len() / rows);
        let convert = |bytes: &[u8], first: &mut [A], second: &mut [B]| {
            let mut floats = vec![0.0; self.inputs];
            let mut all = true;
            for (row, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
                self.kind.read_floats(bytes, &mut floats);
                let (first, second) = (&mut first[row * a..][..a], &mut second[row * b..][..b]);
                all &= put(&floats, first, second);
            }
            all
        };
        let each = rows.div_ceil(threads.max(1));
        std::thread::scope(|scope| {
            let (mut bytes, mut first, mut second) = (self.bytes, first, second);
            let mut others = Vec::new();
            while bytes.len() > each * row_bytes {
                let (part, left) = bytes.split_at(each * row_bytes);
                let (a, left_first) = first.split_at_mut(each * a);
                let (b, left_second) = second.split_at_mut(each * b);
                (bytes, first, second) = (left, left_first, left_second);
                others.push(scope.spawn(|| convert(part, a, b)));
            }
            let all = convert(bytes, first, second);
            // A panic in another thread becomes ours.
            others.into_iter().fold(all, |all, other| {
                all & other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: usize = 12;

    /// Seven rows in f32, as stored in a file.
    fn file(odd: Option<f32>) -> (Vec<f32>, Vec<u8>) {
        let mut floats: Vec<f32> = (0..7 * INPUTS).map(|index| index as f32 / 7.0 - 5.3).collect();
        if let (Some(odd), Some(last)) = (odd, floats.last_mut()) {
            *last = odd;
        }
        let bytes = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        (floats, bytes)
    }

    #[test]
    fn any_number_of_threads_gives_each_row_its_share() {
        let (floats, bytes) = file(None);
        let rows = FileRows { kind: BlockType::F32, inputs: INPUTS, bytes: &bytes };
        for threads in [0, 1, 2, 3, 7, 50] {
            let (mut copies, mut sums) = ([0.0; 7 * INPUTS], [0.0; 14]);
            let all = rows.by_threads(threads, &mut copies, &mut sums, &|row, copy, sums| {
                copy.copy_from_slice(row);
                sums.fill(row.iter().sum());
                true
            });
            assert!(all);
            assert_eq!(copies.as_slice(), floats);
            let expected: Vec<f32> = floats.chunks(INPUTS).map(|row| row.iter().sum()).collect();
            assert_eq!(sums.chunks(2).map(|pair| pair[1]).collect::<Vec<f32>>(), expected);
        }
    }

    #[test]
    fn a_number_that_is_none_is_found_in_the_last_row() {
        for (odd, expected) in
            [(None, true), (Some(f32::NAN), false), (Some(-f32::INFINITY), false)]
        {
            let (_, bytes) = file(odd);
            let rows = FileRows { kind: BlockType::F32, inputs: INPUTS, bytes: &bytes };
            assert_eq!(rows.round(&mut [Bf16::ZERO; 7 * INPUTS]), expected);
            assert_eq!(rows.quantise(&mut [0; 7 * INPUTS], &mut [0.0; 7]), expected);
        }
    }

    #[test]
    fn no_rows_are_all_finite() {
        let rows = FileRows { kind: BlockType::F32, inputs: INPUTS, bytes: &[] };
        assert!(rows.round(&mut []));
    }
}
