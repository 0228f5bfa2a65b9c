//! The definition of the integer tile, in plain Rust.

use half::f16;

use super::{Outputs, QuantView};
use crate::kernels::packed::{Format, Scales};
use crate::kernels::{GROUP, PANEL};

/// See [`super::tile`].
pub(super) fn tile(format: Format, panel: &[u8], rows: QuantView<'_>, mut out: Outputs<'_>) {
    let groups = rows.inputs / GROUP;
    let (header, blocks) = panel.split_at(format.header_bytes(rows.inputs));
    for row in 0..rows.codes.len() / rows.inputs {
        let floats = out.row(row);
        floats.fill(0.0);
        let codes = &rows.codes[row * rows.inputs..][..rows.inputs];
        for (group, block) in blocks.chunks_exact(format.block_bytes()).enumerate() {
            let codes = &codes[group * GROUP..][..GROUP];
            let scale = rows.scales[row * groups + group];
            let sums = &rows.sums[(row * groups + group) * 2..][..2];
            for (output, float) in floats.iter_mut().enumerate() {
                let low = part_sum(format, block, output, codes, sums, 0);
                let high = part_sum(format, block, output, codes, sums, 1);
                let weights = Weights { format, header, block, group, output };
                let [first, second] = weights.scales();
                if format.scales == Scales::Sixteens {
                    *float = (low as f32).mul_add(first * scale, *float);
                    *float = (high as f32).mul_add(second * scale, *float);
                } else {
                    *float = ((low + high) as f32).mul_add(first * scale, *float);
                }
                if let Some(min) = weights.min() {
                    *float = min.mul_add(rows.scaled_sums[row * groups + group], *float);
                }
            }
        }
    }
}

/// Exact integer product of half a group.
fn part_sum(
    format: Format,
    block: &[u8],
    output: usize,
    codes: &[i8],
    sums: &[i32],
    half: usize,
) -> i32 {
    let mut sum = -i32::from(format.offset) * sums[half];
    for input in half * 16..half * 16 + 16 {
        let weight = if format.four_bits {
            block[input % 16 / 4 * PANEL * 4 + output * 4 + input % 4] >> (half * 4) & 15
        } else {
            block[input / 4 * PANEL * 4 + output * 4 + input % 4]
        };
        sum += i32::from(weight) * i32::from(codes[input]);
    }
    sum
}

/// One output's scale information of one block.
pub(super) struct Weights<'a> {
    pub(super) format: Format,
    pub(super) header: &'a [u8],
    pub(super) block: &'a [u8],
    pub(super) group: usize,
    pub(super) output: usize,
}

// === impl Weights ===

impl Weights<'_> {
    pub(super) fn scales(&self) -> [f32; 2] {
        let stored = &self.block[self.format.code_bytes()..];
        let block = self.group / 8;
        match self.format.scales {
            Scales::Half | Scales::HalfMin => [half_at(stored, self.output); 2],
            Scales::Factored => {
                let factor = half_at(self.header, block * PANEL * 2 + self.output);
                [factor * f32::from(stored[self.output]); 2]
            }
            Scales::Sixteens => {
                let factor = half_at(self.header, block * PANEL + self.output);
                [0, PANEL].map(|half| factor * f32::from(stored[half + self.output] as i8))
            }
        }
    }

    pub(super) fn min(&self) -> Option<f32> {
        let stored = &self.block[self.format.code_bytes()..];
        match self.format.scales {
            Scales::Half | Scales::Sixteens => None,
            Scales::HalfMin => Some(half_at(stored, PANEL + self.output)),
            Scales::Factored => {
                let factor = half_at(self.header, (self.group / 8 * 2 + 1) * PANEL + self.output);
                Some(factor * f32::from(stored[PANEL + self.output]))
            }
        }
    }
}

fn half_at(halves: &[u8], index: usize) -> f32 {
    f16::from_le_bytes([halves[index * 2], halves[index * 2 + 1]]).to_f32()
}
