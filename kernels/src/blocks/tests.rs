//! Compares with llama.cpp's results, recorded by weight_types.py.

use std::collections::BTreeMap;

use super::*;

#[derive(serde::Deserialize)]
struct Recorded {
    blocks: Vec<u8>,
    float_bits: Vec<u32>,
}

/// Types, their blocks, and the weights in them.
fn recorded() -> Vec<(BlockType, Vec<u8>, Vec<f32>)> {
    let text = include_str!("weight_types.json");
    let by_name: BTreeMap<String, Recorded> = serde_json::from_str(text).unwrap();
    (0..100u32)
        .filter_map(BlockType::from_code)
        .filter_map(|kind| {
            let Recorded { blocks, float_bits } = by_name.get(&format!("{kind:?}"))?;
            let floats = float_bits.iter().map(|&bits| f32::from_bits(bits)).collect();
            Some((kind, blocks.clone(), floats))
        })
        .collect()
}

#[test]
fn weights_as_floats_are_those_of_llama_cpp() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 4);
    for (kind, blocks, expected) in recorded {
        let mut floats = vec![0.0; expected.len()];
        kind.read_floats(&blocks, &mut floats);
        assert_eq!(floats, expected, "{kind:?}");
    }
}

#[test]
fn weights_as_codes_are_as_near_as_the_table_of_narrow_types_says() {
    for (kind, blocks, expected) in recorded() {
        let mut floats = vec![0.0; expected.len()];
        kind.read_quantised_floats(&blocks, &mut floats);
        for (floats, expected) in floats.chunks(32).zip(expected.chunks(32)) {
            let largest = expected.iter().fold(0.0f32, |largest, float| largest.max(float.abs()));
            let tolerance = match kind {
                BlockType::Q2_K => largest * (0.5 / 127.0 + 1.0 / 2048.0),
                BlockType::IQ4_XS => largest / 2048.0,
                _ => 0.0,
            };
            for (float, expected) in floats.iter().zip(expected) {
                assert!((float - expected).abs() <= tolerance, "{kind:?} {float} {expected}");
            }
        }
    }
}

#[test]
fn a_narrow_block_with_a_factor_that_is_no_number_has_a_scale_that_is_none() {
    for (kind, mut blocks, expected) in recorded() {
        let at = match kind {
            BlockType::Q2_K => 80,
            BlockType::Q3_K => 108,
            _ => 0,
        };
        blocks[at..at + 2].copy_from_slice(&[0, 0x7e]);
        let groups = expected.len() / 16;
        let (mut codes, mut scales) = (vec![0; expected.len()], vec![0.0; groups]);
        let (mut mins, mut factors) = (vec![0.0; groups], vec![(0.0, 0.0); groups]);
        let mut row = CodeRow {
            codes: &mut codes,
            scales: &mut scales,
            mins: &mut mins,
            factors: &mut factors,
        };
        kind.read_codes(&blocks, &mut row);
        let finite = scales.iter().all(|scale| scale.is_finite())
            && factors.iter().all(|(factor, _)| factor.is_finite());
        assert!(!finite, "{kind:?}");
    }
}
