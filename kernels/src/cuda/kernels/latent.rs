//! Launches of latent attention (MLA), whose heads share one key per token; the key's first `rank` elements are also
//! the value.

use super::{
    AttentionSizes, Kernels, LatentAttention, LatentHeads, LatentRotation, LaunchShape, Rows, Task,
    arguments, check,
};
use crate::cuda::{Bf16, CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// Rotates each query's rotated part and writes it to the end of its head in `queries` (rows x heads x key size);
    /// another kernel writes the plain part. The normalised latent vector and the key's rotated part, after rotation,
    /// go to the row's slot of `keys` (slots x key size, of one layer).
    ///
    /// `projected` has rows of heads x (plain part, rotated part), `down` has rows of (latent vector, rotated part);
    /// they may be parts of one matrix. A row whose slot is `0xffff_ffff` stores no key.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// Sizes or strides are odd, the rank is above 512, or the kernels were loaded for other sizes.
    pub fn latent_store(
        &self,
        heads: LatentHeads,
        rotation: &LatentRotation<'_>,
        positions: View<'_, u32>,
        slots: View<'_, u32>,
        [projected, down]: [Rows<'_>; 2],
        [queries, keys]: [View<'_, Bf16>; 2],
    ) -> Result<(), CudaError> {
        self.check_latent(heads);
        let LatentHeads { rank, rope, nope, .. } = heads;
        let even = [rank, rope, nope, projected.stride, down.stride];
        assert!(even.iter().all(|size| size.is_multiple_of(2)), "odd sizes: {even:?}");
        let rows = positions.len();
        check("slots", slots.len(), rows);
        check("weights of a norm", rotation.norm.len(), rank);
        check("queries", queries.len(), rows * heads.queries());
        projected.check("projected queries", rows, heads.projected());
        down.check("latent vectors", rows, heads.key_size());
        let neighbours = u32::from(rotation.neighbours);
        let (projected_stride, down_stride) = (projected.stride as u64, down.stride as u64);
        let [query_heads, rank, rope, nope] =
            [heads.heads, rank, rope, nope].map(|size| size as u32);
        self.launch(
            &self.store,
            LaunchShape::heads(rows as u32, query_heads + 1),
            arguments![
                projected.view.pointer,
                projected_stride,
                down.view.pointer,
                down_stride,
                rotation.norm.pointer,
                rotation.turns.pointer,
                positions.pointer,
                slots.pointer,
                queries.pointer,
                keys.pointer,
                query_heads,
                rank,
                rope,
                nope,
                neighbours,
                rotation.epsilon,
            ],
        )
    }

    /// Computes attention for the rows of the first `count` (one element, on the card) of `tasks`: to `out` (rows x
    /// heads x rank), or in parts to `sums` (parts x heads x rank) and `stats` (parts x heads x 2), which
    /// [`Kernels::merge_parts`] merges for heads of [`LatentHeads::attended`].
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The kernels were loaded for other sizes.
    pub fn attend_latent(
        &self,
        heads: LatentHeads,
        tasks: View<'_, Task>,
        count: View<'_, u32>,
        attention: &LatentAttention<'_>,
        out: View<'_, Bf16>,
        [sums, stats]: [View<'_, f32>; 2],
    ) -> Result<(), CudaError> {
        self.check_latent(heads);
        let LatentAttention { queries, keys, slots, positions, scale } = *attention;
        let query_heads = heads.heads as u32;
        self.launch(
            &self.attend,
            LaunchShape::latent_tasks(tasks.len() as u32, heads.key_size()),
            arguments![
                queries.pointer,
                keys.pointer,
                tasks.pointer,
                count.pointer,
                slots.pointer,
                positions.pointer,
                out.pointer,
                sums.pointer,
                stats.pointer,
                query_heads,
                scale,
            ],
        )
    }

    fn check_latent(&self, LatentHeads { rank, rope, .. }: LatentHeads) {
        let sizes = AttentionSizes::Latent { rank, rope };
        assert_eq!(sizes, self.sizes, "kernels are loaded for one kind and size of heads");
    }
}
