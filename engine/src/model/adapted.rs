//! An adapter packed for the kernels: transposed, so that both products run along their outputs.

use super::Shape;
use crate::adapter::LowRank;
use jury_kernels::cpu::{LANES, PANEL};

/// The projections of a layer that can be adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

/// A fitted adapter.
#[derive(Debug)]
pub(crate) struct Adapted {
    layers: Vec<[Option<Panels>; Projection::COUNT]>,
    /// The greatest rank, rounded up to whole panels.
    width: usize,
}

/// The two matrices of one projection.
#[derive(Debug)]
pub(crate) struct Panels {
    pub(crate) rank: usize,
    /// The rank rounded up to whole registers.
    pub(crate) columns: usize,
    pub(crate) inputs: usize,
    /// A transposed: inputs x columns, zeros past the rank.
    pub(crate) a: Vec<f32>,
    /// For every 32 outputs: B transposed and scaled, rank x 32, zeros past the outputs.
    b: Vec<f32>,
}

// === impl Projection ===

impl Projection {
    const COUNT: usize = 7;

    /// By its name in GGUF's tensor names.
    pub(crate) fn of_name(name: &str) -> Option<Projection> {
        Some(match name {
            "attn_q" => Projection::Query,
            "attn_k" => Projection::Key,
            "attn_v" => Projection::Value,
            "attn_output" => Projection::Output,
            "ffn_gate" => Projection::Gate,
            "ffn_up" => Projection::Up,
            "ffn_down" => Projection::Down,
            _ => return None,
        })
    }

    /// Inputs and outputs.
    pub(crate) fn sizes(self, shape: &Shape) -> [usize; 2] {
        let Shape { width, heads, kv_heads, key_size, value_size, hidden, .. } = *shape;
        // Latent attention's output projection takes values of another size than the stored ones.
        let attended = heads * shape.latent.map_or(value_size, |latent| latent.value_size);
        match self {
            Projection::Query => [width, heads * key_size],
            Projection::Key => [width, kv_heads * key_size],
            Projection::Value => [width, kv_heads * value_size],
            Projection::Output => [attended, width],
            Projection::Gate | Projection::Up => [width, hidden],
            Projection::Down => [hidden, width],
        }
    }

    /// Its index among the projections with the same inputs.
    pub(crate) fn place(self) -> usize {
        match self {
            Projection::Query | Projection::Output | Projection::Gate | Projection::Down => 0,
            Projection::Key | Projection::Up => 1,
            Projection::Value => 2,
        }
    }
}

// === impl Adapted ===

impl Adapted {
    pub(crate) fn new(layers: usize) -> Adapted {
        let layers = (0..layers).map(|_| [const { None }; Projection::COUNT]).collect();
        Adapted { layers, width: 0 }
    }

    /// Adds a part whose sizes are the projection's; `b` are the rows of its B in the model's order.
    pub(crate) fn put(&mut self, layer: usize, projection: Projection, part: &LowRank, b: &[f32]) {
        let LowRank { rank, inputs, outputs, scale, .. } = *part;
        let columns = rank.next_multiple_of(LANES);
        self.width = self.width.max(rank.next_multiple_of(PANEL));
        let mut turned = vec![0.0; inputs * columns];
        for (row, numbers) in part.a.chunks_exact(inputs).enumerate() {
            for (input, &number) in numbers.iter().enumerate() {
                turned[input * columns + row] = number;
            }
        }
        let mut panels = vec![0.0; outputs.next_multiple_of(PANEL) * rank];
        for (output, numbers) in b.chunks_exact(rank).enumerate() {
            let panel = &mut panels[output / PANEL * PANEL * rank..];
            for (inner, &number) in numbers.iter().enumerate() {
                panel[inner * PANEL + output % PANEL] = number * scale;
            }
        }
        self.layers[layer][projection as usize] =
            Some(Panels { rank, columns, inputs, a: turned, b: panels });
    }

    /// The matrices of a projection, if it is adapted.
    pub(crate) fn part(&self, layer: usize, projection: Projection) -> Option<&Panels> {
        self.layers[layer][projection as usize].as_ref()
    }

    /// Room for the products of any A, in whole panels.
    pub(crate) fn width(&self) -> usize {
        self.width
    }
}

// === impl Panels ===

impl Panels {
    /// Rank x 32.
    pub(crate) fn b(&self, panel: usize) -> &[f32] {
        let size = self.rank * PANEL;
        &self.b[panel * size..][..size]
    }
}
