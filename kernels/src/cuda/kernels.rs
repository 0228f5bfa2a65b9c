//! One safe launch for each kernel. What they compute stands in their sources (`../../cuda/*.cu`).

#![allow(unsafe_code)]

mod structs;

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute_enum;
use cudarc::driver::{CudaFunction, CudaModule, result};
use cudarc::nvrtc::Ptx;

use super::ptx::MODULES;
use super::shapes::{LaunchShape, attention_bytes};
use super::{Bf16, Card, CudaError, EIGHT_GROUP, EightMatrix, Output, View};
pub use structs::{Attention, Draw, Heads, Parts, Question, Rotation, Task};

pub use super::shapes::HEAD_SIZES;

/// Shared memory that a block has without asking.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// All kernels, compiled for one card.
#[derive(Debug)]
pub struct Kernels {
    card: Card,
    embed: CudaFunction,
    norm: CudaFunction,
    join_norm: CudaFunction,
    gather_norm: CudaFunction,
    rotate_store: CudaFunction,
    expand_slots: CudaFunction,
    /// For the model's size of heads.
    attend: CudaFunction,
    head_size: usize,
    merge_parts: CudaFunction,
    gate: CudaFunction,
    soft_cap: CudaFunction,
    product8: CudaFunction,
    draw: CudaFunction,
    masses: CudaFunction,
}

/// Pointers to the arguments of a launch, in order.
macro_rules! arguments {
    ($($argument:expr),+ $(,)?) => {
        &mut [$(std::ptr::from_ref(&$argument).cast_mut().cast::<c_void>()),+]
    };
}

// === impl Kernels ===

impl Kernels {
    /// Compiles the kernels for a card and a size of heads.
    ///
    /// # Errors
    /// A size of heads that is none of [`HEAD_SIZES`], a card whose blocks have too little shared memory, or a driver that does not take the
    /// PTX.
    pub fn load(card: &Card, head_size: usize) -> Result<Kernels, CudaError> {
        if !HEAD_SIZES.contains(&head_size) {
            return Err(CudaError::Unsupported(format!(
                "heads of {head_size} elements; the kernels have {HEAD_SIZES:?}"
            )));
        }
        let shared = attention_bytes(head_size);
        if shared as usize > card.facts().shared_bytes {
            return Err(CudaError::Unsupported(format!(
                "attention needs {shared} bytes of shared memory a block, {} has {}",
                card.facts().name,
                card.facts().shared_bytes
            )));
        }
        let failed = || CudaError::driver("compiling the kernels");
        let load = |name: &str, function: &str| -> Result<CudaFunction, CudaError> {
            let ptx = MODULES.iter().find(|(module, _)| *module == name).map_or("", |(_, ptx)| ptx);
            let module: Arc<CudaModule> =
                card.stream.context().load_module(Ptx::from_src(ptx)).map_err(failed())?;
            module.load_function(function).map_err(failed())
        };
        let simple = |name: &str| load(name, name);
        let attend = load("attend", &format!("attend_{head_size}"))?;
        if shared > USUAL_SHARED_BYTES {
            let attribute =
                CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            attend.set_attribute(attribute, shared as i32).map_err(failed())?;
        }
        Ok(Kernels {
            card: card.clone(),
            embed: simple("embed")?,
            norm: simple("norm")?,
            join_norm: simple("join_norm")?,
            gather_norm: simple("gather_norm")?,
            rotate_store: simple("rotate_store")?,
            expand_slots: simple("expand_slots")?,
            attend,
            head_size,
            merge_parts: simple("merge_parts")?,
            gate: simple("gate")?,
            soft_cap: simple("soft_cap")?,
            product8: simple("product8")?,
            draw: simple("draw")?,
            masses: simple("masses")?,
        })
    }

    /// The rows' embeddings: `stream` (rows x width) becomes `scale` times the table's rows. A token with its highest bit set is the
    /// number of one among `drawn`.
    ///
    /// # Errors
    /// A lost card; so for all launches.
    pub fn embed(
        &self,
        [tokens, drawn]: [View<'_, u32>; 2],
        table: View<'_, Bf16>,
        stream: View<'_, f32>,
        width: usize,
        scale: f32,
    ) -> Result<(), CudaError> {
        let rows = tokens.len();
        check("stream", stream.len(), rows * width);
        let width = width as u32;
        self.launch(
            &self.embed,
            LaunchShape::rows(rows as u32),
            arguments![tokens.pointer, drawn.pointer, table.pointer, stream.pointer, width, scale],
        )
    }

    /// `out` (rows x width) becomes the normed stream; `weight` says how wide it is.
    ///
    /// # Errors
    /// A lost card.
    pub fn norm(
        &self,
        rows: usize,
        stream: View<'_, f32>,
        weight: View<'_, f32>,
        out: View<'_, Bf16>,
        epsilon: f32,
    ) -> Result<(), CudaError> {
        let width = weight.len();
        check("stream", stream.len(), rows * width);
        check("normed rows", out.len(), rows * width);
        let width = width as u32;
        self.launch(
            &self.norm,
            LaunchShape::rows(rows as u32),
            arguments![stream.pointer, weight.pointer, out.pointer, width, epsilon],
        )
    }

    /// Adds a normed branch to the stream; the next norm of it goes to `out`, where there is one: its weights and place.
    ///
    /// # Errors
    /// A lost card.
    pub fn join_norm(
        &self,
        rows: usize,
        stream: View<'_, f32>,
        branch: View<'_, f32>,
        branch_weight: View<'_, f32>,
        next: Option<(View<'_, f32>, View<'_, Bf16>)>,
        epsilon: f32,
    ) -> Result<(), CudaError> {
        let width = branch_weight.len();
        check("stream", stream.len(), rows * width);
        check("branch", branch.len(), rows * width);
        let (weight, out) = match next {
            None => (0, 0),
            Some((weight, out)) => {
                check("weights of a norm", weight.len(), width);
                check("normed rows", out.len(), rows * width);
                (weight.pointer, out.pointer)
            }
        };
        let width = width as u32;
        let (stream, branch) = (stream.pointer, branch.pointer);
        self.launch(
            &self.join_norm,
            LaunchShape::rows(rows as u32),
            arguments![stream, branch, branch_weight.pointer, weight, out, width, epsilon],
        )
    }

    /// Norms the stream's rows that `wanted` lists, to `out` and as floats to `hidden`.
    ///
    /// # Errors
    /// A lost card.
    pub fn gather_norm(
        &self,
        stream: View<'_, f32>,
        wanted: View<'_, u32>,
        weight: View<'_, f32>,
        out: View<'_, Bf16>,
        hidden: View<'_, f32>,
        epsilon: f32,
    ) -> Result<(), CudaError> {
        let (rows, width) = (wanted.len(), weight.len());
        check("normed rows", out.len(), rows * width);
        check("hidden states", hidden.len(), rows * width);
        let width = width as u32;
        let (wanted, weight) = (wanted.pointer, weight.pointer);
        self.launch(
            &self.gather_norm,
            LaunchShape::rows(rows as u32),
            arguments![stream.pointer, wanted, weight, out.pointer, hidden.pointer, width, epsilon],
        )
    }

    /// Bias, head norms and rotation of rows of (queries, keys, values); keys and values go to their slots.
    ///
    /// # Errors
    /// A lost card.
    pub fn rotate_store(
        &self,
        heads: Heads,
        rotation: &Rotation<'_>,
        positions: View<'_, u32>,
        slots: View<'_, u32>,
        [qkv, queries]: [View<'_, Bf16>; 2],
        [keys, values]: [View<'_, Bf16>; 2],
    ) -> Result<(), CudaError> {
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
            &self.rotate_store,
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

    /// Writes out the slots of segments of pages: triples of page, tokens and place in `slots`, as many as `count` says.
    ///
    /// # Errors
    /// A lost card.
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

    /// Attention of the tasks' rows, as many as `count` says: to `out`, or in parts to `sums` and `stats`.
    ///
    /// # Errors
    /// A lost card.
    pub fn attend(
        &self,
        heads: Heads,
        tasks: View<'_, Task>,
        count: View<'_, u32>,
        attention: &Attention<'_>,
        out: View<'_, Bf16>,
        [sums, stats]: [View<'_, f32>; 2],
    ) -> Result<(), CudaError> {
        assert_eq!(heads.head_size, self.head_size, "kernels are loaded for one size of heads");
        let Attention { queries, keys, values, slots, positions, scale, softcap, window } =
            *attention;
        let [query_heads, kv_heads, _] = heads.numbers();
        self.launch(
            &self.attend,
            LaunchShape::tasks(tasks.len() as u32, kv_heads, self.head_size),
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

    /// Merges the parts of rows, one entry a row.
    ///
    /// # Errors
    /// A lost card.
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

    /// Activates gates and multiplies them with ups: rows of (gates, ups) become rows of `hidden` numbers.
    ///
    /// # Errors
    /// A lost card.
    pub fn gate(
        &self,
        rows: usize,
        hidden: usize,
        is_gelu: bool,
        gate_up: View<'_, Bf16>,
        out: View<'_, Bf16>,
    ) -> Result<(), CudaError> {
        check("gates and ups", gate_up.len(), rows * hidden * 2);
        check("hidden rows", out.len(), rows * hidden);
        let (hidden, kind) = (hidden as u32, u32::from(is_gelu));
        self.launch(
            &self.gate,
            LaunchShape::gates(rows as u32, hidden),
            arguments![gate_up.pointer, out.pointer, hidden, kind],
        )
    }

    /// Every number becomes `cap * tanh(number / cap)`.
    ///
    /// # Errors
    /// A lost card.
    pub fn soft_cap(&self, numbers: View<'_, f32>, cap: f32) -> Result<(), CudaError> {
        let count = numbers.len() as u64;
        self.launch(
            &self.soft_cap,
            LaunchShape::numbers(numbers.len()),
            arguments![numbers.pointer, count, cap],
        )
    }

    /// Multiplies the first `rows` of `x` with weights of 8 bits. A row's bits do not depend on the rows beside it.
    ///
    /// # Errors
    /// A lost card.
    pub fn multiply_eight(
        &self,
        matrix: EightMatrix<'_>,
        x: View<'_, Bf16>,
        rows: usize,
        out: Output<'_>,
    ) -> Result<(), CudaError> {
        let EightMatrix { bytes, scales, outputs, inputs } = matrix;
        check("weights", bytes.len(), outputs * inputs);
        check("scales", scales.len(), outputs * inputs.div_ceil(EIGHT_GROUP));
        check("rows", x.len(), rows * inputs);
        check("outputs", out.len(), rows * outputs);
        let shape = LaunchShape::eights(rows, outputs);
        let wide = u32::from(!matches!(out, Output::Rounded(_)));
        let adds = u32::from(matches!(out, Output::Added(_)));
        let (out, rows, inputs, outputs) =
            (out.pointer(), rows as u32, inputs as u32, outputs as u32);
        let (x, bytes, scales) = (x.pointer, bytes.pointer, scales.pointer);
        self.launch(
            &self.product8,
            shape,
            arguments![x, bytes, scales, out, rows, inputs, outputs, wide, adds],
        )
    }

    /// Draws a token for each entry of `draws`, from rows of `outputs` logits that lie `stride` apart.
    ///
    /// # Errors
    /// A lost card.
    pub fn draw(
        &self,
        logits: View<'_, f32>,
        [stride, outputs]: [usize; 2],
        draws: View<'_, Draw>,
        tokens: View<'_, u32>,
    ) -> Result<(), CudaError> {
        check("tokens", tokens.len(), draws.len());
        let (stride, outputs) = (stride as u32, outputs as u32);
        self.launch(
            &self.draw,
            LaunchShape::logits(draws.len() as u32),
            arguments![logits.pointer, stride, outputs, draws.pointer, tokens.pointer],
        )
    }

    /// What sets of tokens weigh: for each question the probabilities of its sets, at temperature 1.
    ///
    /// # Errors
    /// A lost card.
    pub fn masses(
        &self,
        logits: View<'_, f32>,
        [stride, outputs]: [usize; 2],
        questions: View<'_, Question>,
        [sets, members]: [View<'_, u32>; 2],
        out: View<'_, f64>,
    ) -> Result<(), CudaError> {
        let (stride, outputs) = (stride as u32, outputs as u32);
        let (sets, members) = (sets.pointer, members.pointer);
        self.launch(
            &self.masses,
            LaunchShape::logits(questions.len() as u32),
            arguments![
                logits.pointer,
                stride,
                outputs,
                questions.pointer,
                sets,
                members,
                out.pointer
            ],
        )
    }

    fn launch(
        &self,
        function: &CudaFunction,
        shape: LaunchShape,
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        let (x, y) = shape.grid;
        if x == 0 || y == 0 {
            return Ok(());
        }
        // SAFETY: the arguments are those of the kernel (the emulated driver checks their sizes against the PTX) and live until the call has copied
        // them; lengths were checked above.
        let launched = unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, 1),
                (shape.threads, 1, 1),
                shape.shared,
                self.card.stream.cu_stream(),
                arguments,
            )
        };
        launched.map_err(CudaError::driver("launching a kernel"))
    }
}

/// Holds a view's length to what a kernel touches of it.
fn check(what: &str, len: usize, needed: usize) {
    assert!(len >= needed, "{what}: {len} elements instead of {needed}");
}
