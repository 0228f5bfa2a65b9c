//! Launches of attention, and of the steps before and after it.

use super::{
    Attention, AttentionSizes, Heads, Kernels, LaunchShape, Parts, Rotation, Task, arguments, check,
};
use crate::cuda::{Bf16, CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// Adds biases, normalises heads and rotates them, for `qkv`: rows x (heads + 2 key heads) x head size, one row per
    /// entry of `positions`. Queries go to `queries` (rows x heads x head size), keys and values to the row's slot of
    /// `keys` and `values` (slots x key heads x head size, of one layer). A row whose entry in `slots` is `0xffff_ffff`
    /// stores no keys and values.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The kernels were loaded for another head size, or a view of rows, a bias or a norm is too short.
    pub fn rotate_store(
        &self,
        heads: Heads,
        rotation: &Rotation<'_>,
        positions: View<'_, u32>,
        slots: View<'_, u32>,
        [qkv, queries]: [View<'_, Bf16>; 2],
        [keys, values]: [View<'_, Bf16>; 2],
    ) -> Result<(), CudaError> {
        self.check_heads(heads);
        let rows = positions.len();
        check("slots", slots.len(), rows);
        check("queries", queries.len(), rows * heads.queries());
        check("queries, keys and values", qkv.len(), rows * heads.all());
        let maybe = |view: Option<View<'_, f32>>, len: usize| {
            view.map_or(0, |view| {
                check("a bias or norm of heads", view.len(), len);
                view.pointer
            })
        };
        let bias = maybe(rotation.bias, heads.all());
        let query_norm = maybe(rotation.query_norm, heads.head_size);
        let key_norm = maybe(rotation.key_norm, heads.head_size);
        let [query_heads, kv_heads, head_size] = heads.numbers();
        let (turned, neighbours) = (rotation.turned as u32, u32::from(rotation.neighbours));
        self.launch(
            &self.store,
            LaunchShape::heads(rows as u32, query_heads + 2 * kv_heads),
            arguments![
                qkv.pointer,
                bias,
                query_norm,
                key_norm,
                rotation.turns.pointer,
                positions.pointer,
                slots.pointer,
                queries.pointer,
                keys.pointer,
                values.pointer,
                query_heads,
                kv_heads,
                head_size,
                turned,
                neighbours,
                rotation.epsilon,
            ],
        )
    }

    /// Expands segments of pages to lists of slots. `segments` are triples of (page, tokens, index in `slots`), of
    /// which the number in `count` (one element, on the card) is used. Every token gets one entry of `slots`:
    /// `page * 64 + token`.
    ///
    /// # Errors
    /// The card is lost.
    pub fn expand_slots(
        &self,
        segments: View<'_, u32>,
        count: View<'_, u32>,
        slots: View<'_, u32>,
    ) -> Result<(), CudaError> {
        self.launch(
            &self.expand_slots,
            LaunchShape::segments((segments.len() / 3) as u32),
            arguments![segments.pointer, count.pointer, slots.pointer],
        )
    }

    /// Computes attention for the rows of the first `count` (one element, on the card) of `tasks`. The rows of tasks
    /// with [`Task::WHOLE`] go to `out` (rows x heads x head size); those of other tasks to `sums` (parts x heads x
    /// head size) and `stats` (parts x heads x 2: greatest score, sum of weights), for [`Kernels::merge_parts`].
    /// [`Attention`] has the shapes of the inputs.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The kernels were loaded for another head size. Other lengths are not checked.
    pub fn attend(
        &self,
        heads: Heads,
        tasks: View<'_, Task>,
        count: View<'_, u32>,
        attention: &Attention<'_>,
        out: View<'_, Bf16>,
        [sums, stats]: [View<'_, f32>; 2],
    ) -> Result<(), CudaError> {
        self.check_heads(heads);
        let Attention { queries, keys, values, slots, positions, scale, softcap, window } =
            *attention;
        let [query_heads, kv_heads, _] = heads.numbers();
        self.launch(
            &self.attend,
            LaunchShape::tasks(tasks.len() as u32, kv_heads, heads.head_size),
            arguments![
                queries.pointer,
                keys.pointer,
                values.pointer,
                tasks.pointer,
                count.pointer,
                slots.pointer,
                positions.pointer,
                out.pointer,
                sums.pointer,
                stats.pointer,
                query_heads,
                kv_heads,
                scale,
                softcap,
                window,
            ],
        )
    }

    /// Merges the parts of rows by log-sum-exp: `sums` (parts x heads x head size) and `stats` (parts x heads x 2) to
    /// `out` (rows x heads x head size), one entry of `parts` per row. A row that saw no token becomes zeros.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// `out` is too short.
    pub fn merge_parts(
        &self,
        heads: Heads,
        [sums, stats]: [View<'_, f32>; 2],
        parts: View<'_, Parts>,
        out: View<'_, Bf16>,
    ) -> Result<(), CudaError> {
        check("attended rows", out.len(), parts.len() * heads.queries());
        let [query_heads, _, head_size] = heads.numbers();
        let (sums, stats) = (sums.pointer, stats.pointer);
        self.launch(
            &self.merge_parts,
            LaunchShape::merges(parts.len() as u32, query_heads, head_size),
            arguments![sums, stats, parts.pointer, out.pointer, query_heads, head_size],
        )
    }

    fn check_heads(&self, heads: Heads) {
        let sizes = AttentionSizes::Heads(heads.head_size);
        assert_eq!(sizes, self.sizes, "kernels are loaded for one kind and size of heads");
    }
}
