//! The matrices of one layer's attention.

use super::{Linear, Reader};
use crate::error::LoadError;
use crate::model::shape::Latent;
use jury_kernels::blocks::BlockType;
use jury_kernels::cpu::packed::PackedMatrix;

/// Attention of one layer.
#[derive(Debug)]
pub(crate) enum Attention {
    /// Separate keys and values for every head, or for groups of heads.
    Heads { query: Linear, key: Linear, value: Linear, output: PackedMatrix },
    /// One latent vector for all heads.
    Latent(LatentAttention),
}

/// Latent attention: see [`Latent`].
#[derive(Debug)]
pub(crate) struct LatentAttention {
    pub(crate) sizes: Latent,
    pub(crate) query: LatentQuery,
    /// Width to rank + rotated elements: a token's latent vector, before its norm, and the key's rotated part.
    pub(crate) down: PackedMatrix,
    /// Norm of the latent vector.
    pub(crate) norm: Vec<f32>,
    /// For every head: maps its query's unrotated part to rank elements.
    pub(crate) key_up: Vec<PackedMatrix>,
    /// For every head: maps its attended latent vector to value elements.
    pub(crate) value_up: Vec<PackedMatrix>,
    pub(crate) output: PackedMatrix,
}

/// The queries of latent attention: for every head, the unrotated elements, then the rotated ones.
#[derive(Debug)]
pub(crate) enum LatentQuery {
    Full(PackedMatrix),
    LowRank { down: PackedMatrix, norm: Vec<f32>, up: PackedMatrix },
}

// === impl Attention ===

impl Attention {
    /// The first matrix that a token is multiplied with.
    pub(crate) fn first_matrix(&self) -> &PackedMatrix {
        match self {
            Attention::Heads { query, .. } => &query.matrix,
            Attention::Latent(latent) => &latent.down,
        }
    }

    pub(super) fn load(reader: &Reader<'_>, layer: usize) -> Result<Attention, LoadError> {
        let shape = reader.shape;
        let name = |part: &str| format!("blk.{layer}.{part}");
        if let Some(latent) = shape.latent {
            return load_latent(reader, layer, latent).map(Attention::Latent);
        }
        let (queries, keys) = (shape.heads * shape.key_size, shape.kv_heads * shape.key_size);
        let values = shape.kv_heads * shape.value_size;
        let (width, attended) = (shape.width, shape.heads * shape.value_size);
        Ok(Attention::Heads {
            query: reader.linear(&name("attn_q"), width, queries)?,
            key: reader.linear(&name("attn_k"), width, keys)?,
            value: reader.linear(&name("attn_v"), width, values)?,
            output: reader.matrix(&name("attn_output.weight"), attended, width)?,
        })
    }
}

fn load_latent(
    reader: &Reader<'_>,
    layer: usize,
    latent: Latent,
) -> Result<LatentAttention, LoadError> {
    let shape = reader.shape;
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    let queries = shape.heads * latent.query_size();
    let query = match latent.query_rank {
        None => LatentQuery::Full(reader.matrix(&name("attn_q"), shape.width, queries)?),
        Some(rank) => LatentQuery::LowRank {
            down: reader.matrix(&name("attn_q_a"), shape.width, rank)?,
            norm: reader.norm(&name("attn_q_a_norm"), rank)?,
            up: reader.matrix(&name("attn_q_b"), rank, queries)?,
        },
    };
    let down_size = latent.rank + latent.rope_size;
    let (key_up, value_up) = if reader.files.has(&name("attn_k_b")) {
        (
            reader.stacked(&name("attn_k_b"), latent.nope_size, latent.rank, shape.heads)?,
            reader.stacked(&name("attn_v_b"), latent.rank, latent.value_size, shape.heads)?,
        )
    } else {
        split_up(reader, &name("attn_kv_b"), latent)?
    };
    Ok(LatentAttention {
        sizes: latent,
        query,
        down: reader.matrix(&name("attn_kv_a_mqa"), shape.width, down_size)?,
        norm: reader.norm(&name("attn_kv_a_norm"), latent.rank)?,
        key_up,
        value_up,
        output: reader.matrix(
            &name("attn_output"),
            shape.heads * latent.value_size,
            shape.width,
        )?,
    })
}

/// Splits the matrix that expands latent vectors to all heads' keys and values. The keys' parts are transposed, because
/// queries are multiplied with them in the other direction; no packed type can be transposed without rounding, so they
/// become f32.
fn split_up(
    reader: &Reader<'_>,
    name: &str,
    latent: Latent,
) -> Result<(Vec<PackedMatrix>, Vec<PackedMatrix>), LoadError> {
    let Latent { rank, nope_size, value_size, .. } = latent;
    let head_size = nope_size + value_size;
    let info = reader.files.tensor(name, &[rank, reader.shape.heads * head_size])?;
    let bytes = reader.bytes(info)?;
    let row_bytes = info.block_type.row_bytes(rank);
    let (mut key_up, mut value_up) = (Vec::new(), Vec::new());
    for head in bytes.chunks_exact(row_bytes * head_size) {
        let (keys, values) = head.split_at(row_bytes * nope_size);
        let mut floats = vec![0.0; nope_size * rank];
        info.block_type.read_floats(keys, &mut floats);
        let mut turned = vec![0; floats.len() * 4];
        for (index, float) in floats.iter().enumerate() {
            let (row, column) = (index / rank, index % rank);
            turned[(column * nope_size + row) * 4..][..4].copy_from_slice(&float.to_le_bytes());
        }
        let not_finite = || reader.not_finite(name);
        key_up
            .push(reader.packed(BlockType::F32, &turned, nope_size, rank).ok_or_else(not_finite)?);
        value_up
            .push(reader.packed(info.block_type, values, rank, value_size).ok_or_else(not_finite)?);
    }
    Ok((key_up, value_up))
}
