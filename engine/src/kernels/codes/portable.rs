//! The definition of the integer tile, in plain Rust.

use super::chunk::Chunk;
use super::{Group, Work};
use crate::kernels::{GROUP, PANEL};

/// Adds a chunk's part to the outputs of all rows; the first chunk sets them.
pub(super) fn add(chunk: &Chunk<'_>, mut work: Work<'_, '_>) {
    let rows = work.rows;
    let groups = rows.inputs / GROUP;
    for row in 0..rows.count {
        let floats = work.out.row(row);
        if chunk.groups.start == 0 {
            floats.fill(0.0);
        }
        for (index, group) in chunk.groups.clone().enumerate() {
            let codes = &rows.codes[row * rows.inputs + group * GROUP..][..GROUP];
            let Group { scale, scaled_sum, sums } = rows.groups[row * groups + group];
            let weights = &chunk.codes[index * chunk.stride..];
            for (output, float) in floats.iter_mut().enumerate() {
                let [low, high] = [0, 1]
                    .map(|half| half_sum(weights, output, codes, half) - chunk.offset * sums[half]);
                if chunk.halves_differ {
                    let [first, second] = [0, 1].map(|half| chunk.scales[index * 2 + half][output]);
                    *float = (low as f32).mul_add(first * scale, *float);
                    *float = (high as f32).mul_add(second * scale, *float);
                } else {
                    let weight_scale = chunk.scales[index][output];
                    *float = ((low + high) as f32).mul_add(weight_scale * scale, *float);
                }
                if let Some(mins) = chunk.mins.get(index) {
                    *float = mins[output].mul_add(scaled_sum, *float);
                }
            }
        }
    }
}

/// Exact integer product of half a group, the offset aside.
fn half_sum(weights: &[u8], output: usize, codes: &[i8], half: usize) -> i32 {
    let weight = |input: usize| weights[input / 4 * PANEL * 4 + output * 4 + input % 4];
    let products =
        (half * 16..half * 16 + 16).map(|input| i32::from(weight(input)) * i32::from(codes[input]));
    products.sum()
}
