//! The layout of a panel of codes.
//!
//! ```text
//! panel   = header, block, block ...          one block for every 32 inputs
//! header  = for factored types, for every 256 inputs: 32 factors (f16), and 32 min factors (negated) if there are mins
//! block   = codes, scales
//! codes   = in the order of the kernels: for every 4 inputs, 32 outputs x 4 codes. 8 bits: 1,024 bytes.
//!           4, 5, 6 bits: 512 bytes with the lowest four bits of a code of the block's first and second half, then
//!           128 or 256 bytes with the upper bits of a code of each eighth or quarter, lowest first
//! scales  = 32 f16, then 32 f16 mins if there are any; factored: 32 pairs of bytes. If a scale covers 16 inputs, they
//!           are the scales of both halves. Otherwise an even block has the scales of itself and of the next block, and
//!           the next block has the mins of both
//! ```

use crate::blocks::CodeShape;
use crate::cpu::{GROUP, PANEL};

/// Codes of a block.
pub const BLOCK_CODES: usize = GROUP * PANEL;

/// The layout of a panel of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// How scales are stored.
    pub scales: Scales,
    /// Bits of a code: 4, 5, 6 or 8.
    pub bits: u8,
    /// Subtracted from a code before scaling.
    pub offset: u8,
}

/// How scales are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// f16 for 32 inputs.
    Half,
    /// f16 scale and min for 32 inputs.
    HalfMin,
    /// Integer scale and min for 32 inputs, f16 factors for 256.
    Factored,
    /// Integer scale for 16 inputs, f16 factor for 256.
    Sixteens,
}

// === impl Format ===

impl Format {
    pub(super) fn new(shape: CodeShape) -> Format {
        let scales = match (shape.factored, shape.has_min) {
            (false, false) => Scales::Half,
            (false, true) => Scales::HalfMin,
            (true, true) => Scales::Factored,
            (true, false) => Scales::Sixteens,
        };
        Format { scales, bits: shape.bits, offset: shape.offset }
    }

    /// Bytes of a block's codes.
    #[inline]
    pub fn code_bytes(self) -> usize {
        BLOCK_CODES * usize::from(self.bits) / 8
    }

    /// Bytes of a block: codes and scales.
    #[inline]
    pub fn block_bytes(self) -> usize {
        let scales = if self.scales == Scales::HalfMin { PANEL * 4 } else { PANEL * 2 };
        self.code_bytes() + scales
    }

    /// Bytes of a panel's header.
    #[inline]
    pub fn header_bytes(self, inputs: usize) -> usize {
        match self.scales {
            Scales::Half | Scales::HalfMin => 0,
            Scales::Factored => inputs / 256 * PANEL * 4,
            Scales::Sixteens => inputs / 256 * PANEL * 2,
        }
    }

    /// Bytes of a panel with `inputs` inputs.
    #[inline]
    pub fn panel_bytes(self, inputs: usize) -> usize {
        self.header_bytes(inputs) + inputs / GROUP * self.block_bytes()
    }

    /// Whether a superblock's scales are integers.
    #[inline]
    pub fn is_factored(self) -> bool {
        matches!(self.scales, Scales::Factored | Scales::Sixteens)
    }

    /// Writes an output's codes of a group into its block.
    pub(super) fn put_codes(self, codes: &[u8], column: usize, packed: &mut [u8]) {
        for (input, &code) in codes.iter().enumerate() {
            let at = input / 4 * PANEL * 4 + column * 4 + input % 4;
            if self.bits == 8 {
                packed[at] = code;
                continue;
            }
            let (low, high) = packed.split_at_mut(BLOCK_CODES / 2);
            low[at % low.len()] |= (code & 15) << (at / low.len() * 4);
            let upper_bits = usize::from(self.bits) - 4;
            let width = BLOCK_CODES * upper_bits / 8;
            if upper_bits > 0 {
                high[at % width] |= (code >> 4) << (at / width * upper_bits);
            }
        }
    }
}
