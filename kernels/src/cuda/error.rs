//! Errors of the card's library calls.

use cudarc::driver::DriverError;

use super::products::Refused;

/// Why a card cannot be used, or no longer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CudaError {
    /// A library is not installed.
    #[error("{name} is not found: {advice}")]
    Library {
        /// The library's name.
        name: &'static str,
        /// What to do about it.
        advice: String,
    },
    /// There is no card with this number.
    #[error("there is no CUDA card {ordinal}: {found} found")]
    NoCard {
        /// The requested number.
        ordinal: usize,
        /// How many there are.
        found: usize,
    },
    /// The kernels do not support this card.
    #[error(
        "{card} has compute capability {major}.{minor}, the kernels need 8.0 or newer (Ampere)"
    )]
    TooOld {
        /// The card's name.
        card: String,
        /// Major version of its compute capability.
        major: i32,
        /// Minor version of its compute capability.
        minor: i32,
    },
    /// There is not enough memory.
    #[error("out of memory on the card: {needed} bytes wanted for {what}, {free} bytes free")]
    Memory {
        /// What the memory is for.
        what: String,
        /// Bytes requested.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A call of the driver failed.
    #[error("{doing}: {name}")]
    Driver {
        /// What was being done.
        doing: &'static str,
        /// CUDA's name of the error.
        name: String,
    },
    /// cuBLASLt rejected a product.
    #[error("product of {outputs} x {inputs} with {rows} rows: {status}")]
    Product {
        /// Rows of the weights.
        outputs: usize,
        /// Columns of the weights.
        inputs: usize,
        /// Rows of the other matrix.
        rows: usize,
        /// cuBLASLt's name of the error.
        status: String,
    },
    /// Something that the kernels, or this card, do not support.
    #[error("{0}")]
    Unsupported(String),
}

impl CudaError {
    pub(super) fn driver(doing: &'static str) -> impl FnOnce(DriverError) -> CudaError {
        move |error| {
            let name =
                error.error_name().ok().and_then(|name| name.to_str().ok().map(str::to_owned));
            CudaError::Driver { doing, name: name.unwrap_or_else(|| format!("{:?}", error.0)) }
        }
    }

    pub(super) fn product(
        outputs: usize,
        inputs: usize,
        rows: usize,
    ) -> impl FnOnce(Refused) -> CudaError {
        move |error| CudaError::Product { outputs, inputs, rows, status: error.to_string() }
    }
}
