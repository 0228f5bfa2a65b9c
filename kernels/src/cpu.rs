//! The arithmetic on the CPU: one portable definition, and faster implementations that give the same bits.
//!
//! ```text
//! gemm.rs           integer products of packed weights, or keys, with quantised activations
//! values.rs         integer sums of values, weighted by attention
//! softmax.rs        attention scores to integer weights
//! hadamard.rs       spreads outliers before quantisation
//! memory.rs         memory for weights, keys and values
//! prefetch.rs       prefetches memory before its use
//! gemm_f32.rs       products of float weights
//! rows.rs           norms, rotation, quantisation of rows
//! activations.rs    SiLU, GELU, soft caps
//! packed.rs         weights as panels of 32 outputs
//! thread_pool.rs    threads that share one job
//! shared.rs         buffers that threads fill together; disjoint.rs: the slices below them
//! peak.rs           loops that measure the most that the CPU can do
//! ```
//!
//! Every float result has one order of operations, defined by the portable functions and followed by all others, with
//! fused multiply-adds where the definition says `mul_add`. It does not depend on the number of rows computed together
//! or on the threads. All levels therefore give equal bits, which a test checks.

pub mod activations;
mod disjoint;
pub mod gemm;
pub mod gemm_f32;
pub mod hadamard;
pub mod memory;
pub mod packed;
pub mod peak;
pub mod prefetch;
pub mod quantise;
pub mod rows;
pub mod shared;
pub mod softmax;
pub mod thread_pool;
pub mod values;

/// Outputs that are computed together: two registers of sixteen (BLIS calls it NR).
pub const PANEL: usize = 32;
/// Maximum rows that are computed together (BLIS calls it MR).
pub const TILE_ROWS: usize = 6;
/// Inputs whose quantised activations share a scale.
pub const GROUP: usize = 32;
/// Lanes of every float reduction.
pub const LANES: usize = 16;

/// Instruction sets that the kernels support, chosen once at run time. Outside this package only
/// [`SimdLevel::Portable`] can be constructed; the others come from [`SimdLevel::detect`] and [`SimdLevel::available`],
/// so a level in hand can always be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimdLevel {
    /// Plain Rust.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx2,
    /// The same with `vpdpbusd` on 32 bytes: AVX-VNNI, or that part of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx512Vnni,
    /// AArch64 with the dot product of bytes.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    Neon,
}

// === impl SimdLevel ===

impl SimdLevel {
    /// The fastest level that this CPU can execute.
    pub fn detect() -> SimdLevel {
        SimdLevel::available().last().copied().unwrap_or(SimdLevel::Portable)
    }

    /// All levels that this CPU can execute, the fastest last.
    pub fn available() -> Vec<SimdLevel> {
        #[allow(unused_mut)]
        let mut levels = vec![SimdLevel::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                levels.push(SimdLevel::Avx2);
                let newer_encoding = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni");
                if is_x86_feature_detected!("avxvnni") || newer_encoding {
                    levels.push(SimdLevel::AvxVnni);
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                {
                    levels.push(SimdLevel::Avx512Vnni);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            levels.push(SimdLevel::Neon);
        }
        levels
    }

    /// Name for display.
    pub fn name(self) -> &'static str {
        match self {
            SimdLevel::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            SimdLevel::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            SimdLevel::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "aarch64")]
            SimdLevel::Neon => "neon",
        }
    }
}

/// Runs a portable, always inlined function compiled for the level's instructions. The bits are those of the portable
/// function: Rust neither reorders nor fuses float operations by itself. On other architectures the baseline is used:
/// AArch64 always has NEON.
macro_rules! at_level {
    ($level:expr, $body:path, ( $($name:ident : $type:ty),* $(,)? )) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($name: $type),*) {
                $body($($name),*)
            }
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
            fn avx512($($name: $type),*) {
                $body($($name),*)
            }
            match $level {
                $crate::cpu::SimdLevel::Portable => $body($($name),*),
                // SAFETY: a level is only chosen after its features were detected.
                $crate::cpu::SimdLevel::Avx2 | $crate::cpu::SimdLevel::AvxVnni => unsafe { avx2($($name),*) },
                // SAFETY: as above.
                $crate::cpu::SimdLevel::Avx512Vnni => unsafe { avx512($($name),*) },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = $level;
            $body($($name),*)
        }
    }};
}
pub(crate) use at_level;
