//! The definition of the integer tile, in portable Rust.

use std::ops::Range;

use super::chunk::{Chunk, GroupScales, SuperblockScales};
use super::superblock::GROUPS;
use super::{Group, Superblock, Work};
use crate::cpu::{GROUP, PANEL};

/// Adds a chunk's part to the outputs of all rows; the first chunk sets them.
pub(super) fn add(chunk: &Chunk<'_>, scales: &GroupScales<'_>, mut work: Work<'_, '_>) {
    let rows = work.rows;
    let groups = rows.inputs / GROUP;
    for row in 0..rows.count {
        let floats = start(chunk, &mut work, row);
        for (index, group) in chunk.groups.clone().enumerate() {
            let codes = &rows.codes[row * rows.inputs + group * GROUP..][..GROUP];
            let Group { scale, scaled_sum, sums } = rows.groups[row * groups + group];
            let start = -chunk.offset * (sums[0] + sums[1]);
            let weights = &chunk.codes[index * chunk.stride..];
            for (output, float) in floats.iter_mut().enumerate() {
                let sum = start + sum(weights, output, codes, 0..GROUP);
                let weight_scale = scales.scales[index][output];
                *float = (sum as f32).mul_add(weight_scale * scale, *float);
                if let Some(mins) = scales.mins.get(index) {
                    *float = mins[output].mul_add(scaled_sum, *float);
                }
            }
        }
    }
}

/// The same for a chunk that is a superblock.
pub(super) fn add_superblock(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    mut work: Work<'_, '_>,
) {
    let rows = work.rows;
    for row in 0..rows.count {
        let first = chunk.groups.start;
        let codes = &rows.codes[row * rows.inputs + first * GROUP..][..GROUPS * GROUP];
        let block = rows.superblock(row, first / GROUPS);
        let floats = start(chunk, &mut work, row);
        for (output, float) in floats.iter_mut().enumerate() {
            let integer = scaled_sums(chunk, scales, output, codes, block);
            let mut value = integer as f32 * scales.factors[output];
            if !scales.mins.is_empty() {
                let sums = block.sums.as_chunks::<2>().0.iter().zip(scales.mins);
                let products = sums.flat_map(|(sums, mins)| {
                    [0, 1].map(|part| i32::from(sums[part]) * i32::from(mins[output][part]))
                });
                let min: i32 = products.sum();
                value = (min as f32).mul_add(scales.min_factors[output], value);
            }
            *float = value.mul_add(block.scale, *float);
        }
    }
}

/// The sum over all parts of an output's weight scale times the shifted sum.
fn scaled_sums(
    chunk: &Chunk<'_>,
    scales: &SuperblockScales<'_>,
    output: usize,
    codes: &[i8],
    block: &Superblock,
) -> i32 {
    let parts = block.parts(scales.scales.len());
    let length = codes.len() / parts.len() / 2;
    let mut total = 0;
    for (pair, (parts, scales)) in parts.iter().zip(scales.scales).enumerate() {
        for (part, scale) in scales[output].into_iter().enumerate() {
            let first = (pair * 2 + part) * length;
            let weights = &chunk.codes[first / GROUP * chunk.stride..];
            let codes = &codes[first / GROUP * GROUP..][..GROUP];
            let inputs = first % GROUP..first % GROUP + length;
            let sum = parts.starts[part] + sum(weights, output, codes, inputs);
            total += i32::from(scale) * (sum >> parts.shifts()[part]);
        }
    }
    total
}

/// A row's outputs before the chunk is added.
fn start<'b>(chunk: &Chunk<'_>, work: &'b mut Work<'_, '_>, row: usize) -> &'b mut [f32; PANEL] {
    let floats = work.out.row(row);
    if chunk.groups.start == 0 {
        floats.fill(0.0);
    }
    floats
}

/// Exact integer product of some inputs of a group.
fn sum(weights: &[u8], output: usize, codes: &[i8], inputs: Range<usize>) -> i32 {
    let weight = |input: usize| weights[input / 4 * PANEL * 4 + output * 4 + input % 4];
    inputs.map(|input| i32::from(weight(input)) * i32::from(codes[input])).sum()
}
