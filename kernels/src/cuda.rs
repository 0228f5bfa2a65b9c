//! The arithmetic on an NVIDIA card. Nothing of CUDA is needed to build it: the driver and cuBLASLt are opened at run
//! time, and the kernels (`../cuda/*.cu`) come as committed PTX, which the driver compiles for the card.
//!
//! ```text
//! library.rs   finds and opens the libraries
//! card.rs      a card: its facts, its stream, its memory
//! memory.rs    buffers on the card, pinned memory of the host, views for kernels
//! ptx.rs       the committed PTX
//! kernels.rs   one safe launch for each kernel
//! shapes.rs    how many blocks of how many threads (pure)
//! products.rs  matrix products by cuBLASLt: operands, descriptions, and trials of its algorithms
//! eight.rs     weights of 8 bits, for a product of our own (pure)
//! choice.rs    which of its algorithms, so that a row's bits do not depend on the rows beside it (pure)
//! probe.rs     rows that show whether two algorithms add in the same order (pure)
//! graph.rs     recorded launches
//! measure.rs   how fast a card copies and multiplies
//! ```
//!
//! All of it runs in tests without a card, on emulated libraries (`scripts/emulated-cuda`).
//!
//! Safety: views carry lengths, and launches check them; what indices *on the card* point to (tokens, pages, tasks) is the
//! caller's word. A wrong one reaches the card's memory alone, never this process's.

mod card;
mod choice;
mod eight;
mod error;
mod graph;
mod kernels;
mod library;
mod measure;
mod memory;
mod probe;
mod products;
mod ptx;
mod shapes;

pub use card::{Card, CardFacts, Mark, cards};
pub use choice::Role;
pub use eight::{EIGHT_GROUP, quantise_eight};
pub use error::CudaError;
pub use graph::Graph;
pub use kernels::{
    Attention, AttentionSizes, Draw, HEAD_SIZES, Heads, Kernels, LATENT_SIZES, LatentAttention,
    LatentHeads, LatentRotation, Parts, Question, Rotation, Rows, Task,
};
pub use kernels::{
    MOST_EXPERTS, MOST_SEATS, MOST_USED, Routing, SeatInputs, SeatTile, Seats, most_seat_tiles,
};
pub use library::{DRIVER, LIBRARIES_VARIABLE, open_libraries, opened_file};
pub use measure::{CardLimits, measure};
pub use memory::{Bf16, Buffer, Pinned, Plain, View};
pub use products::{Algorithms, EightMatrix, Matrices, Matrix, Output, Products, Strided, Weights};
pub use shapes::TASK_QUERIES;

/// Changes whenever a kernel's bits do.
pub const KERNELS_VERSION: u32 = 3;
