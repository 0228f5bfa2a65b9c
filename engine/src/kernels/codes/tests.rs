use super::*;
use crate::gguf::BlockType;
use crate::kernels::memory::Arena;
use crate::kernels::packed::{Input, Packed};
use crate::kernels::quantise::quantise;

const KINDS: [BlockType; 8] = [
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q8_0,
    BlockType::Q4_K,
    BlockType::Q5_K,
    BlockType::Q6_K,
];

/// Random blocks whose f16 factors are small and finite.
fn random_blocks(kind: BlockType, count: usize) -> Vec<u8> {
    let (_, block_bytes) = kind.block();
    let mut state = 7u64;
    let mut bytes: Vec<u8> = (0..count * block_bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect();
    for block in bytes.chunks_exact_mut(block_bytes) {
        let halves: &[usize] = match kind {
            BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 => &[0],
            BlockType::Q6_K => &[208],
            _ => &[0, 2],
        };
        for &at in halves {
            block[at + 1] = 0x20 | (block[at + 1] & 0x87);
        }
    }
    bytes
}

fn activations(rows: usize, inputs: usize) -> (Vec<f32>, QuantRows) {
    let floats: Vec<f32> =
        (0..rows * inputs).map(|i| ((i * 7919) % 2003) as f32 / 500.0 - 2.0).collect();
    let mut codes = QuantRows::default();
    codes.resize(rows, inputs);
    quantise(Level::Portable, &floats, codes.all_mut());
    (floats, codes)
}

fn products(level: Level, matrix: &Packed, rows: usize, codes: &QuantRows) -> Vec<f32> {
    let input = Input { rows, codes: codes.view(), floats: &[] };
    let mut out = vec![0.0; rows * matrix.panels() * PANEL];
    for panel in 0..matrix.panels() {
        let mut panel_out = vec![0.0; rows * PANEL];
        matrix.panel(level, panel, &[], &input, &mut Room::default(), &mut panel_out);
        for (row, values) in panel_out.chunks_exact(PANEL).enumerate() {
            let at = row * matrix.panels() * PANEL + panel * PANEL;
            out[at..][..PANEL].copy_from_slice(values);
        }
    }
    out
}

#[test]
fn every_level_gives_the_portable_bits_for_every_weight_type_and_number_of_rows() {
    let (inputs, outputs) = (512, 70);
    for kind in KINDS {
        let (weights, _) = kind.block();
        let blocks = random_blocks(kind, outputs * inputs / weights);
        let matrix =
            Packed::new(&Arena::default(), kind, &blocks, inputs, outputs).expect("finite scales");
        for rows in (1..=13).chain([20, 64]) {
            let (_, codes) = activations(rows, inputs);
            let expected = products(Level::Portable, &matrix, rows, &codes);
            for level in Level::available() {
                let found = products(level, &matrix, rows, &codes);
                let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{kind:?}, {rows} rows, {level:?}");
            }
        }
    }
}

#[test]
fn packed_products_are_those_of_the_weights_in_the_file() {
    let (inputs, outputs) = (256, 40);
    for kind in KINDS {
        let (weights, _) = kind.block();
        let blocks = random_blocks(kind, outputs * inputs / weights);
        let matrix =
            Packed::new(&Arena::default(), kind, &blocks, inputs, outputs).expect("finite scales");
        let (_, codes) = activations(2, inputs);
        let found = products(Level::Portable, &matrix, 2, &codes);
        let mut row_weights = vec![0.0; inputs];
        for output in 0..outputs {
            kind.read_floats(
                &blocks[output * kind.row_bytes(inputs)..][..kind.row_bytes(inputs)],
                &mut row_weights,
            );
            for row in 0..2 {
                let (mut sum, mut size) = (0.0f64, 0.0f64);
                for (input, &weight) in row_weights.iter().enumerate() {
                    let at = row * inputs + input;
                    let value =
                        f64::from(codes.codes[at]) * f64::from(codes.groups[at / GROUP].scale);
                    sum += value * f64::from(weight);
                    size += (value * f64::from(weight)).abs();
                }
                let error = (sum - f64::from(found[row * matrix.panels() * PANEL + output])).abs();
                assert!(error <= size * 1e-5, "{kind:?} output {output}: {error} of {size}");
            }
        }
    }
}
