//! Converts rows of GGUF blocks to panels. Nothing is rounded.

use half::f16;

use super::Storage;
use super::format::{Format, Scales};
use crate::blocks::BlockType;
use crate::blocks::{CodeRow, CodeShape};
use crate::cpu::memory::Arena;
use crate::cpu::{GROUP, PANEL};

pub(super) fn pack_codes(
    memory: &Arena,
    kind: BlockType,
    shape: CodeShape,
    bytes: &[u8],
    inputs: usize,
    outputs: usize,
) -> Option<Storage> {
    let format = Format::new(shape);
    let panel_bytes = format.panel_bytes(inputs);
    let mut panels = memory.zeroed(outputs.div_ceil(PANEL) * panel_bytes);
    let row_bytes = kind.row_bytes(inputs);
    let groups = inputs / shape.group;
    let (mut codes, mut scales) = (vec![0; inputs], vec![0.0; groups]);
    let (mut mins, mut factors) = (vec![0.0; groups], vec![(0.0, 0.0); inputs.div_ceil(256)]);
    for (output, blocks) in bytes.chunks_exact(row_bytes).take(outputs).enumerate() {
        let row = CodeRow {
            codes: &mut codes,
            scales: &mut scales,
            mins: &mut mins,
            factors: &mut factors,
        };
        read_checked(kind, blocks, row)?;
        let panel = &mut panels.as_mut_slice()[output / PANEL * panel_bytes..][..panel_bytes];
        let (header, blocks) = panel.split_at_mut(format.header_bytes(inputs));
        let column = output % PANEL;
        for (index, block) in blocks.chunks_exact_mut(format.block_bytes()).enumerate() {
            let (code_bytes, scale_bytes) = block.split_at_mut(format.code_bytes());
            format.put_codes(&codes[index * GROUP..][..GROUP], column, code_bytes);
            match format.scales {
                Scales::Half => put_half(scale_bytes, column, scales[index]),
                Scales::HalfMin => {
                    put_half(scale_bytes, column, scales[index]);
                    put_half(scale_bytes, PANEL + column, mins[index]);
                }
                Scales::Factored => {
                    let numbers = if index % 2 == 0 { &scales } else { &mins };
                    let pair = [0, 1].map(|group| numbers[index / 2 * 2 + group] as u8);
                    scale_bytes[column * 2..][..2].copy_from_slice(&pair);
                }
                Scales::Sixteens => {
                    let pair = [0, 1].map(|half| scales[index * 2 + half] as i8 as u8);
                    scale_bytes[column * 2..][..2].copy_from_slice(&pair);
                }
            }
        }
        for (index, &(factor, min_factor)) in factors.iter().enumerate() {
            match format.scales {
                Scales::Half | Scales::HalfMin => {}
                Scales::Factored => {
                    put_half(header, index * PANEL * 2 + column, factor);
                    put_half(header, index * PANEL * 2 + PANEL + column, min_factor);
                }
                Scales::Sixteens => put_half(header, index * PANEL + column, factor),
            }
        }
    }
    Some(Storage::Codes { format, panels })
}

fn read_checked(kind: BlockType, blocks: &[u8], mut row: CodeRow<'_>) -> Option<()> {
    kind.read_codes(blocks, &mut row);
    let finite = row.scales.iter().chain(row.mins.iter()).all(|number| number.is_finite())
        && row.factors.iter().all(|(factor, min)| factor.is_finite() && min.is_finite());
    finite.then_some(())
}

fn put_half(halves: &mut [u8], index: usize, value: f32) {
    // Exact: the value was read from an f16.
    halves[index * 2..][..2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

pub(super) fn pack_floats(
    memory: &Arena,
    kind: BlockType,
    bytes: &[u8],
    inputs: usize,
    outputs: usize,
) -> Option<Storage> {
    let mut panels = memory.zeroed(outputs.div_ceil(PANEL) * PANEL * inputs * 4);
    let mut row = vec![0.0; inputs];
    for (output, bytes) in bytes.chunks_exact(kind.row_bytes(inputs)).take(outputs).enumerate() {
        kind.read_floats(bytes, &mut row);
        if !row.iter().all(|weight| weight.is_finite()) {
            return None;
        }
        let panel = &mut panels.as_mut_floats()[output / PANEL * PANEL * inputs..];
        for (input, &weight) in row.iter().enumerate() {
            panel[input * PANEL + output % PANEL] = weight;
        }
    }
    Some(Storage::Floats { panels })
}
