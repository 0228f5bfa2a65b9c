//! Weights of 16 and of 8 bits on the card.

use half::bf16;
use jury_kernels::cuda::{Buffer, Card, EIGHT_GROUP, Matrices, Weights, quantise_eight};

/// Numbers between -1 and 1 that are exact in bfloat16.
pub(crate) fn numbers(seed: usize, count: usize) -> Vec<f32> {
    let number = |index: usize| {
        let mixed = ((seed << 32) + index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bf16::from_f32((mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0).to_f32()
    };
    (0..count).map(number).collect()
}

pub(crate) fn rounded(numbers: &[f32]) -> Vec<bf16> {
    numbers.iter().copied().map(bf16::from_f32).collect()
}

/// Matrices on the card, and their exact values.
pub(crate) struct Stored {
    count: usize,
    outputs: usize,
    inputs: usize,
    words: Buffer<bf16>,
    bytes: Buffer<u8>,
    scales: Buffer<f32>,
    is_eight: bool,
    plain: Vec<f32>,
}

impl Stored {
    pub(crate) fn new(
        card: &Card,
        seed: usize,
        [count, outputs, inputs]: [usize; 3],
        is_eight: bool,
    ) -> Stored {
        let mut plain = numbers(seed, count * outputs * inputs);
        let groups = inputs.div_ceil(EIGHT_GROUP);
        let (mut bytes, mut scales) = (vec![0; plain.len()], vec![0.0; count * groups * outputs]);
        let mut of_row = vec![0.0; groups];
        for (index, row) in plain.chunks(inputs).enumerate() {
            let (matrix, output) = (index / outputs, index % outputs);
            quantise_eight(row, &mut bytes[index * inputs..][..inputs], &mut of_row);
            for (group, &scale) in of_row.iter().enumerate() {
                scales[(matrix * groups + group) * outputs + output] = scale;
            }
        }
        let words = Buffer::of(card, &rounded(&plain), "weights").unwrap();
        if is_eight {
            for (at, weight) in plain.iter_mut().enumerate() {
                let (row, input) = (at / inputs, at % inputs);
                let scale =
                    ((row / outputs) * groups + input / EIGHT_GROUP) * outputs + row % outputs;
                let byte = bytes[at / 4 * 4 + [0, 2, 1, 3][at % 4]].cast_signed();
                *weight = f32::from(byte) * scales[scale];
            }
        }
        let bytes = Buffer::of(card, &bytes, "bytes").unwrap();
        let scales = Buffer::of(card, &scales, "scales").unwrap();
        Stored { count, outputs, inputs, words, bytes, scales, is_eight, plain }
    }

    pub(crate) fn view(&self) -> Matrices<'_> {
        let weights = match self.is_eight {
            true => Weights::Eight { bytes: self.bytes.view(), scales: self.scales.view() },
            false => Weights::Rounded(self.words.view()),
        };
        Matrices { weights, count: self.count, outputs: self.outputs, inputs: self.inputs }
    }

    /// A matrix times a vector.
    pub(crate) fn times(&self, matrix: usize, x: &[f64]) -> Vec<f64> {
        let rows = self.plain[matrix * self.outputs * self.inputs..].chunks(self.inputs);
        let dot = |row: &[f32]| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum();
        rows.take(self.outputs).map(dot).collect()
    }
}
