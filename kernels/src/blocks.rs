//! The weight types of GGUF, and how to read their blocks exactly.
//!
//! Quantised types become groups of integer codes: `weight = scale * (code - offset) + min`, with one `scale` and one
//! `min` (zero for types without one) per group of 16 or 32 neighbouring inputs. The types with 256 weights per block
//! store `scale = factor * integer` and `min = min_factor * integer`. Nothing is rounded: these products have at most
//! 11 + 7 significant bits, which fit in an f32. (Only two narrow types have rounded codes: narrow.rs.)

mod narrow;
#[cfg(test)]
mod tests;

use half::{bf16, f16};

/// How a tensor's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum BlockType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE half).
    F16,
    /// 16-bit floats (bfloat16).
    BF16,
    /// 32 weights of 4 bits, one scale.
    Q4_0,
    /// 32 weights of 4 bits, one scale and one min.
    Q4_1,
    /// 32 weights of 5 bits, one scale.
    Q5_0,
    /// 32 weights of 5 bits, one scale and one min.
    Q5_1,
    /// 32 weights of 8 bits, one scale.
    Q8_0,
    /// Superblocks of 256: 2 bits, 4-bit scales and mins for 16.
    Q2_K,
    /// Superblocks of 256: 3 bits, 6-bit scales for 16.
    Q3_K,
    /// Superblocks of 256: 4 bits, 6-bit scales and mins for 32.
    Q4_K,
    /// Superblocks of 256: 5 bits, 6-bit scales and mins for 32.
    Q5_K,
    /// Superblocks of 256: 6 bits, 8-bit scales for 16.
    Q6_K,
    /// Blocks of 32: 4-bit indices into a table of 16 values.
    IQ4_NL,
    /// Superblocks of 256: as IQ4_NL, with 6-bit scales for 32.
    IQ4_XS,
}

/// How a quantised type's codes are interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeShape {
    /// Neighbouring inputs that share a scale: 16 or 32.
    pub group: usize,
    /// Subtracted from a code before scaling.
    pub offset: u8,
    /// Whether groups have a `min`.
    pub has_min: bool,
    /// Bits of a code: 4, 5, 6 or 8.
    pub bits: u8,
    /// Whether scales and mins are integers, to be multiplied by factors of their block of 256.
    pub factored: bool,
}

/// One row of codes, the destination of [`BlockType::read_codes`].
pub struct CodeRow<'a> {
    /// One per weight, unsigned.
    pub codes: &'a mut [u8],
    /// One per group.
    pub scales: &'a mut [f32],
    /// One per group.
    pub mins: &'a mut [f32],
    /// One per block, for factored types: the factor of the scales, and that of the mins.
    pub factors: &'a mut [(f32, f32)],
}

// === impl BlockType ===

impl BlockType {
    /// The type with this number in GGUF's table of tensors; `None` if it is not supported.
    pub fn from_code(code: u32) -> Option<BlockType> {
        Some(match code {
            0 => BlockType::F32,
            1 => BlockType::F16,
            2 => BlockType::Q4_0,
            3 => BlockType::Q4_1,
            6 => BlockType::Q5_0,
            7 => BlockType::Q5_1,
            8 => BlockType::Q8_0,
            10 => BlockType::Q2_K,
            11 => BlockType::Q3_K,
            12 => BlockType::Q4_K,
            13 => BlockType::Q5_K,
            14 => BlockType::Q6_K,
            20 => BlockType::IQ4_NL,
            23 => BlockType::IQ4_XS,
            30 => BlockType::BF16,
            _ => return None,
        })
    }

    /// Its number in GGUF's table of tensors.
    pub fn code(self) -> u32 {
        let mut codes = 0..=u32::from(u8::MAX);
        codes.find(|&code| BlockType::from_code(code) == Some(self)).expect("every type has a code")
    }

    /// Weights and bytes of a block.
    pub fn block(self) -> (usize, usize) {
        match self {
            BlockType::F32 => (1, 4),
            BlockType::F16 | BlockType::BF16 => (1, 2),
            BlockType::Q4_0 => (32, 18),
            BlockType::Q4_1 => (32, 20),
            BlockType::Q5_0 => (32, 22),
            BlockType::Q5_1 => (32, 24),
            BlockType::Q8_0 => (32, 34),
            BlockType::Q2_K => (256, 84),
            BlockType::Q3_K => (256, 110),
            BlockType::Q4_K => (256, 144),
            BlockType::Q5_K => (256, 176),
            BlockType::Q6_K => (256, 210),
            BlockType::IQ4_NL => (32, 18),
            BlockType::IQ4_XS => (256, 136),
        }
    }

    /// Bytes of a row of `inputs` weights.
    pub fn row_bytes(self, inputs: usize) -> usize {
        let (weights, bytes) = self.block();
        inputs / weights * bytes
    }

    /// The shape of its codes; `None` for floating-point types.
    pub fn code_shape(self) -> Option<CodeShape> {
        let (group, offset, has_min, bits) = match self {
            BlockType::F32 | BlockType::F16 | BlockType::BF16 => return None,
            BlockType::Q4_0 => (32, 8, false, 4),
            BlockType::Q4_1 | BlockType::Q4_K => (32, 0, true, 4),
            BlockType::Q5_0 => (32, 16, false, 5),
            BlockType::Q5_1 | BlockType::Q5_K => (32, 0, true, 5),
            BlockType::Q8_0 | BlockType::Q2_K | BlockType::IQ4_NL | BlockType::IQ4_XS => {
                (32, 128, false, 8)
            }
            BlockType::Q3_K | BlockType::Q6_K => (16, 32, false, 6),
        };
        let factored =
            matches!(self, BlockType::Q3_K | BlockType::Q4_K | BlockType::Q5_K | BlockType::Q6_K);
        Some(CodeShape { group, offset, has_min, bits, factored })
    }

    /// Reads a row of a quantised type. `bytes` must hold exactly the row's blocks.
    pub fn read_codes(self, bytes: &[u8], row: &mut CodeRow<'_>) {
        let (weights, block_bytes) = self.block();
        let group = self.code_shape().map_or(32, |shape| shape.group);
        let groups = weights / group;
        for (index, block) in bytes.chunks_exact(block_bytes).enumerate() {
            let codes = &mut row.codes[index * weights..][..weights];
            let scales = &mut row.scales[index * groups..][..groups];
            let mins = &mut row.mins[index * groups..][..groups];
            mins.fill(0.0);
            match self {
                BlockType::F32 | BlockType::F16 | BlockType::BF16 => {
                    unreachable!("floating-point rows are read by read_floats")
                }
                BlockType::Q4_0 => {
                    scales[0] = half_at(block, 0);
                    nibbles(&block[2..18], codes);
                }
                BlockType::Q4_1 => {
                    scales[0] = half_at(block, 0);
                    mins[0] = half_at(block, 2);
                    nibbles(&block[4..20], codes);
                }
                BlockType::Q5_0 => {
                    scales[0] = half_at(block, 0);
                    nibbles(&block[6..22], codes);
                    fifth_bits(&block[2..6], codes);
                }
                BlockType::Q5_1 => {
                    scales[0] = half_at(block, 0);
                    mins[0] = half_at(block, 2);
                    nibbles(&block[8..24], codes);
                    fifth_bits(&block[4..8], codes);
                }
                BlockType::Q8_0 => {
                    scales[0] = half_at(block, 0);
                    for (code, &byte) in codes.iter_mut().zip(&block[2..34]) {
                        *code = byte ^ 0x80;
                    }
                }
                BlockType::Q4_K => {
                    row.factors[index] = (half_at(block, 0), -half_at(block, 2));
                    super_scales(&block[4..16], scales, mins);
                    super_nibbles(&block[16..144], codes);
                }
                BlockType::Q5_K => {
                    row.factors[index] = (half_at(block, 0), -half_at(block, 2));
                    super_scales(&block[4..16], scales, mins);
                    super_nibbles(&block[48..176], codes);
                    for (position, code) in codes.iter_mut().enumerate() {
                        *code |= (block[16 + position % 32] >> (position / 32) & 1) << 4;
                    }
                }
                BlockType::Q6_K => {
                    row.factors[index] = (half_at(block, 208), 0.0);
                    read_q6_k(block, codes, scales);
                }
                BlockType::Q2_K => narrow::read_q2_k(block, codes, scales),
                BlockType::Q3_K => {
                    row.factors[index] = (narrow::read_q3_k(block, codes, scales), 0.0);
                }
                BlockType::IQ4_NL => narrow::read_iq4_nl(block, codes, scales),
                BlockType::IQ4_XS => narrow::read_iq4_xs(block, codes, scales),
            }
        }
    }

    /// Reads a row of any type as floats.
    pub fn read_floats(self, bytes: &[u8], floats: &mut [f32]) {
        match self {
            BlockType::F32 => {
                for (float, bytes) in floats.iter_mut().zip(bytes.chunks_exact(4)) {
                    *float = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
            BlockType::F16 => {
                for (float, bytes) in floats.iter_mut().zip(bytes.chunks_exact(2)) {
                    *float = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
                }
            }
            BlockType::BF16 => {
                for (float, bytes) in floats.iter_mut().zip(bytes.chunks_exact(2)) {
                    *float = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
                }
            }
            BlockType::Q2_K => self.read_each(bytes, floats, narrow::q2_k_floats),
            BlockType::IQ4_XS => self.read_each(bytes, floats, narrow::iq4_xs_floats),
            _ => self.read_quantised_floats(bytes, floats),
        }
    }

    fn read_each(self, bytes: &[u8], floats: &mut [f32], read: impl Fn(&[u8], &mut [f32])) {
        let (weights, block_bytes) = self.block();
        for (block, floats) in bytes.chunks_exact(block_bytes).zip(floats.chunks_exact_mut(weights))
        {
            read(block, floats);
        }
    }

    fn read_quantised_floats(self, bytes: &[u8], floats: &mut [f32]) {
        let Some(shape) = self.code_shape() else { return };
        let groups = floats.len() / shape.group;
        let (mut codes, mut scales) = (vec![0; floats.len()], vec![0.0; groups]);
        let (mut mins, mut factors) = (vec![0.0; groups], vec![(1.0, 1.0); floats.len() / 32]);
        let mut row = CodeRow {
            codes: &mut codes,
            scales: &mut scales,
            mins: &mut mins,
            factors: &mut factors,
        };
        self.read_codes(bytes, &mut row);
        for (position, float) in floats.iter_mut().enumerate() {
            let group = position / shape.group;
            let (factor, min_factor) =
                if shape.factored { factors[position / 256] } else { (1.0, 1.0) };
            let code = f32::from(codes[position]) - f32::from(shape.offset);
            *float = factor * scales[group] * code + min_factor * mins[group];
        }
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// 16 bytes: low nibbles are weights 0..16, high nibbles 16..32.
fn nibbles(packed: &[u8], codes: &mut [u8]) {
    for (position, &byte) in packed.iter().enumerate() {
        codes[position] = byte & 15;
        codes[position + 16] = byte >> 4;
    }
}

fn fifth_bits(packed: &[u8], codes: &mut [u8]) {
    for (position, code) in codes.iter_mut().enumerate() {
        *code |= (packed[position / 8] >> (position % 8) & 1) << 4;
    }
}

/// Four runs of 32 bytes; each holds 32 weights in its low and the next 32 in its high nibbles.
fn super_nibbles(packed: &[u8], codes: &mut [u8]) {
    for (run, bytes) in packed.chunks_exact(32).enumerate() {
        for (position, &byte) in bytes.iter().enumerate() {
            codes[run * 64 + position] = byte & 15;
            codes[run * 64 + 32 + position] = byte >> 4;
        }
    }
}

/// Eight 6-bit scales and mins in 12 bytes.
fn super_scales(packed: &[u8], scales: &mut [f32], mins: &mut [f32]) {
    for group in 0..8 {
        let (scale, min) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            (
                packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
                packed[group + 4] >> 4 | packed[group] >> 6 << 4,
            )
        };
        scales[group] = f32::from(scale);
        mins[group] = f32::from(min);
    }
}

fn read_q6_k(block: &[u8], codes: &mut [u8], scales: &mut [f32]) {
    for (group, scale) in scales.iter_mut().enumerate() {
        *scale = f32::from(block[192 + group] as i8);
    }
    for half in 0..2 {
        let (low, high) = (&block[half * 64..][..64], &block[128 + half * 32..][..32]);
        for position in 0..32 {
            let top = high[position];
            let codes = &mut codes[half * 128..][..128];
            codes[position] = low[position] & 15 | (top & 3) << 4;
            codes[position + 32] = low[position + 32] & 15 | (top >> 2 & 3) << 4;
            codes[position + 64] = low[position] >> 4 | (top >> 4 & 3) << 4;
            codes[position + 96] = low[position + 32] >> 4 | (top >> 6) << 4;
        }
    }
}
