use super::*;
use crate::blocks::BlockType;
use crate::cpu::memory::Arena;
use crate::cpu::packed::{Input, PackedMatrix, Scales};
use crate::cpu::quantise::{ScaleKind, quantise};

const KINDS: [BlockType; 10] = [
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q8_0,
    BlockType::Q4_K,
    BlockType::Q5_K,
    BlockType::Q6_K,
    BlockType::Q3_K,
    BlockType::IQ4_NL,
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
            BlockType::Q4_0 | BlockType::Q5_0 | BlockType::Q8_0 | BlockType::IQ4_NL => &[0],
            BlockType::Q3_K => &[108],
            BlockType::Q6_K => &[208],
            _ => &[0, 2],
        };
        for &at in halves {
            block[at + 1] = 0x20 | (block[at + 1] & 0x87);
        }
    }
    bytes
}

fn quantised(floats: &[f32], inputs: usize, scales: ScaleKind) -> QuantRows {
    let mut rows = QuantRows::default();
    rows.resize(floats.len() / inputs, inputs, scales);
    quantise(SimdLevel::Portable, floats, rows.all_mut());
    superblock::join_groups(SimdLevel::Portable, &rows.groups, &mut rows.superblocks);
    rows
}

fn activations(rows: usize, inputs: usize, scales: ScaleKind) -> (Vec<f32>, QuantRows) {
    let floats: Vec<f32> =
        (0..rows * inputs).map(|i| ((i * 7919) % 2003) as f32 / 500.0 - 2.0).collect();
    let codes = quantised(&floats, inputs, scales);
    (floats, codes)
}

fn products(level: SimdLevel, matrix: &PackedMatrix, rows: usize, codes: &QuantRows) -> Vec<f32> {
    let input = Input { rows, codes: codes.view(), floats: &[] };
    let mut out = vec![0.0; rows * matrix.panels() * PANEL];
    for panel in 0..matrix.panels() {
        let mut panel_out = vec![0.0; rows * PANEL];
        matrix.panel(level, panel, &[], &input, &mut Workspace::default(), &mut panel_out);
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
        let matrix = PackedMatrix::new(&Arena::default(), kind, &blocks, inputs, outputs)
            .expect("finite scales");
        for rows in (1..=13).chain([20, 64]) {
            let (_, codes) = activations(rows, inputs, matrix.input_scales());
            let expected = products(SimdLevel::Portable, &matrix, rows, &codes);
            for level in SimdLevel::available() {
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
        let matrix = PackedMatrix::new(&Arena::default(), kind, &blocks, inputs, outputs)
            .expect("finite scales");
        let (_, codes) = activations(2, inputs, matrix.input_scales());
        let found = products(SimdLevel::Portable, &matrix, 2, &codes);
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
                // Superblocks round off what does not fit in 16 bits.
                let most = if matrix.input_scales() == ScaleKind::Power { 4e-4 } else { 1e-5 };
                assert!(error <= size * most, "{kind:?} output {output}: {error} of {size}");
            }
        }
    }
}

/// Blocks with the greatest possible integers, and rows at all limits.
#[test]
fn superblocks_hold_the_greatest_numbers_at_every_level() {
    let (inputs, outputs) = (512, PANEL);
    for kind in [BlockType::Q4_K, BlockType::Q5_K, BlockType::Q6_K] {
        let (weights, block_bytes) = kind.block();
        for byte in [0xff, 0x80, 0x7f, 0x00] {
            let mut blocks = vec![byte; outputs * inputs / weights * block_bytes];
            for block in blocks.chunks_exact_mut(block_bytes) {
                let halves = if kind == BlockType::Q6_K { vec![208] } else { vec![0, 2] };
                halves.into_iter().for_each(|at| block[at..at + 2].copy_from_slice(&[0, 0x20]));
            }
            let matrix = PackedMatrix::new(&Arena::default(), kind, &blocks, inputs, outputs)
                .expect("finite scales");
            let mut row_weights = vec![0.0; inputs];
            kind.read_floats(&blocks[..kind.row_bytes(inputs)], &mut row_weights);
            for rows in [1, 20] {
                let (floats, codes) = rows_at_limits(rows, inputs);
                let expected = products(SimdLevel::Portable, &matrix, rows, &codes);
                for (row, floats) in floats.chunks_exact(inputs).enumerate() {
                    let terms = floats.iter().zip(&row_weights);
                    let sum: f64 = terms.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                    // Rounding is in steps of the greatest code of a superblock.
                    let greatest =
                        row_weights.iter().fold(0.0f32, |all, weight| all.max(weight.abs()));
                    let size = f64::from(greatest) * 127.0 * inputs as f64;
                    let error = (sum - f64::from(expected[row * PANEL])).abs();
                    assert!(error <= size * 1e-4, "{kind:?} {byte} row {row}: {error} of {size}");
                }
                for level in SimdLevel::available() {
                    let found = products(level, &matrix, rows, &codes);
                    let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{kind:?}, {byte}, {rows} rows, {level:?}");
                }
            }
        }
    }
}

/// Rows with the greatest codes of either sign, with groups of zeros, and with groups that differ by many powers of
/// two.
fn rows_at_limits(rows: usize, inputs: usize) -> (Vec<f32>, QuantRows) {
    let number = |at: usize| {
        let (row, group) = (at / inputs, at % inputs / GROUP);
        match row % 5 {
            0 => 127.0,
            1 => -127.0,
            2 => 127.0 * [1.0, 0.0][group % 2],
            3 => 127.0 * 0.5f32.powi(group as i32 * 3),
            _ => -127.0 * 0.5f32.powi(15 - group as i32),
        }
    };
    let floats: Vec<f32> = (0..rows * inputs).map(number).collect();
    let codes = quantised(&floats, inputs, ScaleKind::Power);
    (floats, codes)
}

#[test]
fn a_superblock_with_what_is_no_number_gives_none() {
    let kind = BlockType::Q4_K;
    let (inputs, (_, block_bytes)) = (256, kind.block());
    let blocks = vec![0; PANEL * block_bytes];
    let matrix =
        PackedMatrix::new(&Arena::default(), kind, &blocks, inputs, PANEL).expect("finite scales");
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut floats = vec![1.0; inputs];
        floats[100] = odd;
        let codes = quantised(&floats, inputs, ScaleKind::Power);
        for level in SimdLevel::available() {
            let found = products(level, &matrix, 1, &codes);
            assert!(found.iter().all(|value| !value.is_finite()), "{odd} {level:?}");
        }
    }
}

#[test]
fn every_level_joins_groups_alike() {
    for rows in [1, 5] {
        let (_, codes) = rows_at_limits(rows, 512);
        for level in SimdLevel::available() {
            let mut found = vec![Superblock::default(); codes.superblocks.len()];
            superblock::join_groups(level, &codes.groups, &mut found);
            assert_eq!(found, codes.superblocks, "{level:?}");
        }
    }
}

#[test]
fn what_does_not_fit_panics_at_every_level() {
    const INPUTS: usize = 256;
    const STRIDE: usize = 3 * PANEL;
    let offset = |scales| if scales == Scales::Factored { 0 } else { 8 };
    let format = |scales| Format { scales, bits: 4, offset: offset(scales) };
    let run =
        |level: SimdLevel, format: Format, count: usize, [panel, codes, floats]: [usize; 3]| {
            let mut rows = QuantRows::default();
            rows.resize(count, INPUTS, ScaleKind::Power);
            let panel = vec![0; format.panel_bytes(INPUTS) - panel];
            // The last row ends with its panel: the padding of a larger stride does not exist there.
            let mut out = vec![0.0; (count - 1) * STRIDE + PANEL - floats];
            let mut view = rows.view();
            view.codes = &view.codes[codes..];
            let product = PanelGemm { format, panel: &panel, rows: view, prefetch: &[] };
            let outputs = Outputs { floats: &mut out, stride: STRIDE };
            let call = || product.compute(level, &mut Workspace::default(), outputs);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err()
        };
    for level in SimdLevel::available() {
        for (scales, count) in [Scales::Half, Scales::HalfMin, Scales::Factored]
            .into_iter()
            .flat_map(|scales| [1, 7, 80].map(|count| (scales, count)))
        {
            let format = format(scales);
            assert!(!run(level, format, count, [0; 3]), "{level:?} {scales:?} {count}");
            for lacks in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
                assert!(run(level, format, count, lacks), "{level:?} {scales:?} {count} {lacks:?}");
            }
        }
    }
}
