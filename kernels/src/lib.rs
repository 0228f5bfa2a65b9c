//! The arithmetic of language models, one module per kind of device; independent of models and files.
//!
//! ```text
//! blocks   the weight types of GGUF: how their blocks are read
//! cpu      packed weights, quantised activations, attention and threads, for x86-64, AArch64 and plain Rust
//! cuda     kernels (../cuda) and matrix products on an NVIDIA card, whose libraries are opened at run time
//! ```
//!
//! `unsafe` code and assembly are confined to this package, except for memory-mapping files.

pub mod blocks;
pub mod cpu;
pub mod cuda;
