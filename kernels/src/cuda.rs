//! The arithmetic on an NVIDIA card. Building it does not require CUDA: the driver and cuBLASLt are opened at run time,
//! and the kernels (`../cuda/*.cu`) are included as committed PTX, which the driver compiles for the card.
//!
//! ```text
//! library.rs   finds and opens the libraries
//! card.rs      a card: its facts, its stream, its memory
//! memory.rs    buffers on the card, pinned memory of the host, views for kernels
//! ptx.rs       the committed PTX
//! kernels.rs   one safe launch for each kernel
//! shapes.rs    how many blocks of how many threads (pure)
//! products.rs  matrix products by cuBLASLt: operands, descriptions, and trials of its algorithms
//! eight.rs     8-bit weights, for our own product (pure)
//! choice.rs    chooses algorithms so that a row's bits do not depend on the rows beside it (pure)
//! probe.rs     rows that reveal whether two algorithms add in the same order (pure)
//! graph.rs     recorded launches
//! measure.rs   how fast a card copies and multiplies
//! ```
//!
//! In tests all of it runs without a card, on emulated libraries (`scripts/emulated-cuda`).
//!
//! Safety: views carry lengths, and launches check them; the caller is responsible for indices *on the card* (tokens,
//! pages, tasks). A wrong index reaches only the card's memory, never this process's.

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

/// Must change whenever a kernel's bits do.
pub const KERNELS_VERSION: u32 = 3;
