//! One safe launch for each kernel. What they compute is described in their sources (`../../cuda/*.cu`).
//!
//! Shapes are row-major, the last dimension contiguous. Every launch fails if the card is lost, and panics if a view
//! whose length it checks is too short.

#![allow(unsafe_code)]

mod answers;
mod attention;
mod experts;
mod grouped;
mod latent;
mod products;
mod rows;
mod seats;
mod structs;

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute_enum;
use cudarc::driver::{CudaFunction, CudaModule, result};
use cudarc::nvrtc::Ptx;

use super::ptx::MODULES;
use super::shapes::LaunchShape;
use super::{Card, CudaError};
use grouped::GroupedProduct;
pub use seats::{
    MOST_EXPERTS, MOST_SEATS, MOST_USED, Routing, SeatInputs, SeatTile, Seats, most_seat_tiles,
};
pub use structs::{
    Attention, Draw, Heads, LatentAttention, LatentHeads, LatentRotation, Parts, Question,
    Rotation, Rows, Task,
};

pub use super::shapes::{AttentionSizes, HEAD_SIZES, LATENT_SIZES};

/// Shared memory that a block has by default.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// All kernels, compiled for one card.
#[derive(Debug)]
pub struct Kernels {
    card: Card,
    embed: CudaFunction,
    norm: CudaFunction,
    join_norm: CudaFunction,
    gather_norm: CudaFunction,
    expand_slots: CudaFunction,
    /// Kind and size of the model's heads, for which the next two are compiled.
    sizes: AttentionSizes,
    /// `rotate_store` or `latent_store`.
    store: CudaFunction,
    /// `attend` or `attend_latent`.
    attend: CudaFunction,
    merge_parts: CudaFunction,
    gate: CudaFunction,
    soft_cap: CudaFunction,
    product8: CudaFunction,
    widen8: CudaFunction,
    multiply_heads: GroupedProduct,
    multiply_experts: GroupedProduct,
    route: CudaFunction,
    assign_seats: CudaFunction,
    add_routed: CudaFunction,
    draw: CudaFunction,
    masses: CudaFunction,
}

/// Pointers to the arguments of a launch, in order.
macro_rules! arguments {
    ($($argument:expr),+ $(,)?) => {
        &mut [$(std::ptr::from_ref(&$argument).cast_mut().cast::<std::ffi::c_void>()),+]
    };
}

use arguments;

// === impl Kernels ===

impl Kernels {
    /// Compiles the kernels for a card, and those of attention for a model's heads.
    ///
    /// # Errors
    /// The kernels do not support the sizes ([`HEAD_SIZES`], [`LATENT_SIZES`]), the card's blocks have too little
    /// shared memory, or the driver rejects the PTX.
    pub fn load(card: &Card, sizes: AttentionSizes) -> Result<Kernels, CudaError> {
        if !sizes.is_known() {
            return Err(CudaError::Unsupported(match sizes {
                AttentionSizes::Heads(size) => {
                    format!("heads of {size} elements; the kernels have {HEAD_SIZES:?}")
                }
                AttentionSizes::Latent { rank, rope } => format!(
                    "latent attention of rank {rank} with {rope} rotated elements; the kernels have {LATENT_SIZES:?}"
                ),
            }));
        }
        let shared = sizes.shared_bytes();
        if shared as usize > card.facts().shared_bytes {
            return Err(CudaError::Unsupported(format!(
                "attention needs {shared} bytes of shared memory a block, {} has {}",
                card.facts().name,
                card.facts().shared_bytes
            )));
        }
        let failed = || CudaError::driver("compiling the kernels");
        let module = |name: &str| -> Result<Arc<CudaModule>, CudaError> {
            let ptx = MODULES.iter().find(|(module, _)| *module == name).map_or("", |(_, ptx)| ptx);
            card.stream.context().load_module(Ptx::from_src(ptx)).map_err(failed())
        };
        let load = |name: &str, function: &str| -> Result<CudaFunction, CudaError> {
            module(name)?.load_function(function).map_err(failed())
        };
        let simple = |name: &str| load(name, name);
        let (store, attend) = match sizes {
            AttentionSizes::Heads(size) => {
                (simple("rotate_store")?, load("attend", &format!("attend_{size}"))?)
            }
            AttentionSizes::Latent { rank, rope } => {
                let attend = load("attend_latent", &format!("attend_latent_{rank}_{rope}"))?;
                (simple("latent_store")?, attend)
            }
        };
        allow_shared(&attend, shared)?;
        Ok(Kernels {
            card: card.clone(),
            embed: simple("embed")?,
            norm: simple("norm")?,
            join_norm: simple("join_norm")?,
            gather_norm: simple("gather_norm")?,
            expand_slots: simple("expand_slots")?,
            sizes,
            store,
            attend,
            merge_parts: simple("merge_parts")?,
            gate: simple("gate")?,
            soft_cap: simple("soft_cap")?,
            product8: simple("product8")?,
            widen8: simple("widen8")?,
            multiply_heads: GroupedProduct::load(&module("multiply_heads")?, "multiply_heads")?,
            multiply_experts: GroupedProduct::load(
                &module("multiply_experts")?,
                "multiply_experts",
            )?,
            route: simple("route")?,
            assign_seats: simple("assign_seats")?,
            add_routed: simple("add_routed")?,
            draw: simple("draw")?,
            masses: simple("masses")?,
        })
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
        // SAFETY: the arguments are those of the kernel (the emulated driver checks their sizes against the PTX) and
        // live until the call has copied them; lengths were checked above.
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

/// Allows a kernel's blocks to use `bytes` of shared memory.
fn allow_shared(function: &CudaFunction, bytes: u32) -> Result<(), CudaError> {
    if bytes <= USUAL_SHARED_BYTES {
        return Ok(());
    }
    let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    let allowed = function.set_attribute(attribute, bytes as i32);
    allowed.map_err(CudaError::driver("compiling the kernels"))
}

/// Checks that a view is as long as the kernel's accesses require.
fn check(what: &str, len: usize, needed: usize) {
    assert!(len >= needed, "{what}: {len} elements instead of {needed}");
}
