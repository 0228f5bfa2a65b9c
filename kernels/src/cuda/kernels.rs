//! One safe launch for each kernel. What they compute stands in their sources (`../../cuda/*.cu`).
//!
//! Of every launch the error is a lost card.

#![allow(unsafe_code)]

mod answers;
mod attention;
mod products;
mod rows;
mod structs;

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute_enum;
use cudarc::driver::{CudaFunction, CudaModule, result};
use cudarc::nvrtc::Ptx;

use super::ptx::MODULES;
use super::shapes::{LaunchShape, attention_bytes};
use super::{Card, CudaError};
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
        &mut [$(std::ptr::from_ref(&$argument).cast_mut().cast::<std::ffi::c_void>()),+]
    };
}

use arguments;

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
