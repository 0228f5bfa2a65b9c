//! Buffers that the threads of a job fill together, phase by phase.
//!
//! ```text
//! rows.rs     rows of elements, written by rows, by blocks of columns, or as a whole
//! pages.rs    pages of bytes, written byte by byte
//! access.rs   who may touch what of a buffer in a phase
//! ```
//!
//! Whoever touches a buffer shows the [`Claim`](super::thread_pool::Claim) of the piece of work it is doing, and gets
//! slices that live no longer than the piece does. In one phase a buffer is used in one way: it is read by everybody, or every
//! row, or every block, is written by one piece. All of this is checked when a slice is handed out, never by element; what
//! would be a data race is a panic. Phases follow each other, so what one wrote the next may read.

mod access;
mod pages;
mod rows;

pub(crate) use access::{Access, Mode};
pub use pages::SharedPages;
pub use rows::{Block, Rows, SharedRows};
