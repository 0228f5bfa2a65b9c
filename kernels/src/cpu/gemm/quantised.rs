//! Rows of activations as 8-bit codes.

use super::superblock::Superblock;
use crate::cpu::GROUP;
use crate::cpu::quantise::ScaleKind;
use crate::cpu::shared::Access;

/// Rows of activations as 8-bit codes: `value = scale * code`.
#[derive(Debug, Default)]
pub struct QuantRows {
    /// Inputs of a row, a multiple of 32.
    pub inputs: usize,
    /// Kind of all groups' scales.
    pub scales: ScaleKind,
    /// rows x inputs, from -127 to 127.
    pub codes: Vec<i8>,
    /// rows x groups of 32.
    pub groups: Vec<Group>,
    /// Computed from the groups, rows x 256 inputs; empty if the scales are of another kind.
    pub superblocks: Vec<Superblock>,
    pub(super) access: Access,
}

/// The kernels' data about a group of 32 codes of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct Group {
    /// The value of one step of a code.
    pub scale: f32,
    /// The scale times the sum of all codes.
    pub scaled_sum: f32,
    /// Sums of the codes of each half.
    pub sums: [i32; 2],
}

// === impl Group ===

impl Group {
    /// From the scale and the sums of the codes of each half.
    pub fn new(scale: f32, sums: [i32; 2]) -> Group {
        Group { scale, scaled_sum: scale * (sums[0] + sums[1]) as f32, sums }
    }
}

/// A view of some rows of [`QuantRows`].
#[derive(Debug, Clone, Copy)]
pub struct QuantView<'a> {
    /// Inputs of a row, a multiple of 32.
    pub inputs: usize,
    /// The kind of all scales.
    pub scales: ScaleKind,
    /// Number of rows.
    pub count: usize,
    /// rows x inputs.
    pub codes: &'a [i8],
    /// rows x groups of 32.
    pub groups: &'a [Group],
    /// rows x 256 inputs, or none.
    pub superblocks: &'a [Superblock],
}

// === impl QuantRows ===

impl QuantRows {
    /// Makes room; contents are unspecified. Scale kinds for superblocks require rows of whole superblocks.
    pub fn resize(&mut self, rows: usize, inputs: usize, scales: ScaleKind) {
        (self.inputs, self.scales) = (inputs, scales);
        self.codes.resize(rows * inputs, 0);
        self.groups.resize(rows * inputs / GROUP, Group::default());
        self.superblocks.resize(rows * scales.superblocks(inputs), Superblock::default());
    }

    /// All rows one after the other, for a single thread.
    #[inline]
    pub fn all_mut(&mut self) -> QuantRow<'_> {
        QuantRow { scales: self.scales, codes: &mut self.codes, groups: &mut self.groups }
    }

    /// All rows, to read.
    #[inline]
    pub fn view(&self) -> QuantView<'_> {
        let QuantRows { inputs, scales, codes, groups, superblocks, .. } = self;
        let count = codes.len() / inputs.max(&1);
        QuantView { inputs: *inputs, scales: *scales, count, codes, groups, superblocks }
    }
}

/// The destination of a quantised row, or of some groups of one.
pub struct QuantRow<'a> {
    /// The kind of scales to choose.
    pub scales: ScaleKind,
    /// From -127 to 127.
    pub codes: &'a mut [i8],
    /// One per 32 codes.
    pub groups: &'a mut [Group],
}

// === impl QuantRow ===

impl QuantRow<'_> {
    /// Writes the only group.
    pub fn set(self, codes: &[i8; GROUP], group: Group) {
        self.codes.copy_from_slice(codes);
        self.groups.copy_from_slice(&[group]);
    }
}

// === impl QuantView ===

impl<'a> QuantView<'a> {
    /// Rows `first .. first + count`.
    #[inline(always)]
    pub fn rows(&self, first: usize, count: usize) -> QuantView<'a> {
        let (groups, blocks) = (self.inputs / GROUP, self.superblocks_of_a_row());
        QuantView {
            count,
            codes: &self.codes[first * self.inputs..][..count * self.inputs],
            groups: &self.groups[first * groups..][..count * groups],
            superblocks: &self.superblocks[first * blocks..][..count * blocks],
            ..*self
        }
    }

    /// A superblock of a row.
    #[inline]
    pub(super) fn superblock(&self, row: usize, index: usize) -> &'a Superblock {
        &self.superblocks[row * self.superblocks_of_a_row() + index]
    }

    #[inline]
    pub(super) fn superblocks_of_a_row(&self) -> usize {
        self.scales.superblocks(self.inputs)
    }
}
