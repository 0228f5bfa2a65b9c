//! Buffers that the threads of a job fill together, phase by phase.
//!
//! ```text
//! rows.rs     rows of elements, written by rows, by blocks of columns, or as a whole
//! pages.rs    pages of bytes, written byte by byte
//! access.rs   which accesses to a buffer a phase allows
//! ```
//!
//! To access a buffer, a thread presents the [`Claim`](super::thread_pool::Claim) of its current piece of work, and
//! gets slices that live no longer than the piece does. Within one phase a buffer is used in one way only: all pieces
//! read it, or each row, or each block, is written by one piece. All of this is checked when a slice is handed out,
//! never per element; what would be a data race is a panic. Phases run one after the other, so each may read what
//! earlier ones wrote.

mod access;
mod pages;
mod rows;

pub(crate) use access::{Access, Mode};
pub use pages::SharedPages;
pub use rows::{Block, Rows, SharedRows};
