//! The functions of cuBLASLt that we call, taken from the library that was opened: looked up by name, the system might
//! return another one.
//!
//! Constants and struct layouts are those of `cublasLt.h`, versions 12 and 13.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::OnceLock;

use crate::cuda::library::products_library;

/// cuBLASLt's status of success, and of two failures that concern a single product.
const SUCCESS: u32 = 0;
const INVALID_VALUE: u32 = 7;
const NOT_SUPPORTED: u32 = 15;

/// Types of numbers.
pub(super) const FLOAT32: u32 = 0;
pub(super) const BFLOAT16: u32 = 14;
/// Products with all sums in f32.
pub(super) const SUMS_FLOAT32: u32 = 68;

/// An opaque object of the library.
pub(super) type Handle = *mut c_void;

/// A failure, by cuBLASLt's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cuda) struct Refused(u32);

/// An algorithm, opaque to us.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cuda) struct Algorithm([u64; 8]);

/// A proposal by the library.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Proposal {
    pub(super) algorithm: Algorithm,
    workspace: usize,
    state: u32,
    waves: f32,
    reserved: [i32; 4],
}

/// Names, symbols and arguments of functions that return a status.
macro_rules! calls {
    ($($name:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// The functions.
        pub(super) struct Calls {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> u32,)*
            version: unsafe extern "C" fn() -> usize,
        }

        impl Calls {
            fn load() -> Option<Calls> {
                let library = products_library()?;
                // SAFETY: these are the functions' types in `cublasLt.h`.
                unsafe {
                    Some(Calls {
                        $($name: *library.get(concat!($symbol, "\0").as_bytes()).ok()?,)*
                        version: *library.get(b"cublasLtGetVersion\0").ok()?,
                    })
                }
            }
        }
    };
}

calls! {
    create = "cublasLtCreate" (*mut Handle);
    destroy = "cublasLtDestroy" (Handle);
    create_layout = "cublasLtMatrixLayoutCreate" (*mut Handle, u32, u64, u64, i64);
    destroy_layout = "cublasLtMatrixLayoutDestroy" (Handle);
    create_product = "cublasLtMatmulDescCreate" (*mut Handle, u32, u32);
    set_product = "cublasLtMatmulDescSetAttribute" (Handle, u32, *const c_void, usize);
    destroy_product = "cublasLtMatmulDescDestroy" (Handle);
    create_preference = "cublasLtMatmulPreferenceCreate" (*mut Handle);
    set_preference = "cublasLtMatmulPreferenceSetAttribute" (Handle, u32, *const c_void, usize);
    destroy_preference = "cublasLtMatmulPreferenceDestroy" (Handle);
    propose = "cublasLtMatmulAlgoGetHeuristic"
        (Handle, Handle, Handle, Handle, Handle, Handle, Handle, i32, *mut Proposal, *mut i32);
    multiply = "cublasLtMatmul"
        (Handle, Handle, *const c_void, *const c_void, Handle, *const c_void, Handle, *const c_void,
         *const c_void, Handle, *mut c_void, Handle, *const Algorithm, *mut c_void, usize, *mut c_void);
}

// === impl Calls ===

impl Calls {
    /// The functions of the library that was opened.
    pub(super) fn get() -> Result<&'static Calls, Refused> {
        static CALLS: OnceLock<Option<Calls>> = OnceLock::new();
        CALLS.get_or_init(Calls::load).as_ref().ok_or(Refused(NOT_SUPPORTED))
    }

    /// The library's version.
    pub(super) fn version(&self) -> usize {
        // SAFETY: it takes nothing.
        unsafe { (self.version)() }
    }

    /// The handle that a function creates and writes to its argument.
    pub(super) fn made(create: impl FnOnce(*mut Handle) -> u32) -> Result<Handle, Refused> {
        let mut handle = std::ptr::null_mut();
        check(create(&raw mut handle))?;
        Ok(handle)
    }
}

// === impl Refused ===

impl Refused {
    /// A product that the library cannot compute.
    pub(super) fn unsupported() -> Refused {
        Refused(NOT_SUPPORTED)
    }

    /// Whether another algorithm may succeed.
    pub(super) fn concerns_the_algorithm(self) -> bool {
        matches!(self.0, INVALID_VALUE | NOT_SUPPORTED)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            1 => "not initialised",
            3 => "no memory",
            INVALID_VALUE => "invalid value",
            8 => "a card of the wrong architecture",
            13 => "execution failed",
            14 => "internal error",
            NOT_SUPPORTED => "not supported",
            _ => "failed",
        };
        write!(f, "cuBLASLt: {name} ({})", self.0)
    }
}

// === impl Proposal ===

impl Proposal {
    /// Whether it can be used.
    pub(super) fn is_usable(&self) -> bool {
        self.state == SUCCESS
    }
}

/// A status as a result.
pub(super) fn check(status: u32) -> Result<(), Refused> {
    if status == SUCCESS { Ok(()) } else { Err(Refused(status)) }
}
