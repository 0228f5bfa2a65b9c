//! Measures the most that a card can do: how fast it copies its memory, and how fast it multiplies. Only for people who
//! compare a model's speed with it; nothing is decided by it.

#![allow(unsafe_code)]

use std::time::Instant;

use cudarc::driver::result;

use super::{Bf16, Buffer, Card, CudaError, Matrix, Output, Products, Role};

/// A small copy, to estimate how long larger ones take.
const SMALL_COPY: usize = 1 << 20;
/// Bytes of the copies that measure a card's rate, largest first: far beyond any cache.
const COPIES: [usize; 4] = [1 << 30, 1 << 28, 1 << 26, 1 << 24];
/// A copy that would take more seconds is skipped in favour of a smaller one.
const LONGEST_COPY: f64 = 0.02;
/// Rows and columns of a small product, to estimate how long larger ones take: some microseconds on a real card.
const SMALL_PRODUCT: usize = 256;
/// If it takes more seconds than this, no larger one is tried.
const LONGEST_SMALL_PRODUCT: f64 = 0.002;
/// Rows and columns of the products that measure a card's rate, largest first.
const PRODUCTS: [usize; 4] = [8192, 4096, 2048, 1024];
/// Seconds for which each rate is measured.
const MEASURED: f64 = 0.25;
/// Maximum number of runs, however short.
const MOST_RUNS: f64 = 200.0;
/// A measurement takes at most 1/4 of the free memory: an engine may be about to take the rest.
const SHARE: u64 = 4;
/// Elements of the pattern that fills the matrices. Not zeros: a card multiplies those faster, because they need less
/// power.
const PATTERN: usize = 1 << 16;

/// The most that a card can do.
#[derive(Debug, Clone, PartialEq)]
pub struct CardLimits {
    /// Bytes of its memory that were free before the measurement.
    pub free_bytes: u64,
    /// Copies within its memory, in 10^9 bytes read and written per second.
    pub copy_gbps: f64,
    /// Products of bfloat16 matrices with sums in f32, in 10^12 operations per second (a multiply-add counts as two).
    pub product_tflops: f64,
    /// Rows and columns of these matrices.
    pub product_size: usize,
}

/// Measures a card for about a second. A slow card, such as an emulated one, gets tiny sizes.
///
/// # Errors
/// The card is missing, too old, full or lost.
pub fn measure(ordinal: usize) -> Result<CardLimits, CudaError> {
    let card = Card::open(ordinal)?;
    let free_bytes = card.free_bytes()?;
    let copy_gbps = copy_rate(&card, free_bytes / SHARE)?;
    let (product_size, product_tflops) = product_rate(&card, free_bytes / SHARE)?;
    Ok(CardLimits { free_bytes, copy_gbps, product_tflops, product_size })
}

fn copy_rate(card: &Card, room: u64) -> Result<f64, CudaError> {
    let small = copy(card, SMALL_COPY)?;
    let is_possible = |&bytes: &usize| {
        small * (bytes / SMALL_COPY) as f64 <= LONGEST_COPY && 2 * bytes as u64 <= room
    };
    let bytes = COPIES.into_iter().find(is_possible).unwrap_or(SMALL_COPY);
    Ok((2 * bytes) as f64 / copy(card, bytes)? / 1e9)
}

/// Seconds per copy.
fn copy(card: &Card, bytes: usize) -> Result<f64, CudaError> {
    let from: Buffer<u8> = Buffer::zeroed(card, bytes, "a copy that is measured")?;
    let to: Buffer<u8> = Buffer::zeroed(card, bytes, "a copy that is measured")?;
    let (from, to) = (from.view().pointer, to.view().pointer);
    time(card, || {
        // SAFETY: both have as many bytes, and live until the card is done.
        unsafe { result::memcpy_dtod_async(to, from, bytes, card.stream.cu_stream()) }
            .map_err(CudaError::driver("copying on the card"))
    })
}

fn product_rate(card: &Card, room: u64) -> Result<(usize, f64), CudaError> {
    let products = Products::new(card)?;
    let small = product(card, &products, SMALL_PRODUCT)?;
    let fits = |&size: &usize| 3 * 2 * (size * size) as u64 <= room;
    let size = match small <= LONGEST_SMALL_PRODUCT {
        true => PRODUCTS.into_iter().find(fits).unwrap_or(SMALL_PRODUCT),
        false => SMALL_PRODUCT,
    };
    let time = if size == SMALL_PRODUCT { small } else { product(card, &products, size)? };
    Ok((size, 2.0 * (size as f64).powi(3) / time / 1e12))
}

/// Seconds per product of square matrices.
fn product(card: &Card, products: &Products, size: usize) -> Result<f64, CudaError> {
    let [weights, rows, out] = [(); 3].map(|()| matrix(card, size));
    let (weights, rows, out) = (weights?, rows?, out?);
    let matrix = Matrix { weights: weights.view(), outputs: size, inputs: size };
    let to = Output::Rounded(out.view());
    let algorithms = products.choose(Role::Prompt, matrix, rows.view(), to)?;
    time(card, || products.multiply(&algorithms, matrix, rows.view(), size, to))
}

/// A square matrix of numbers between -1 and 1.
fn matrix(card: &Card, size: usize) -> Result<Buffer<Bf16>, CudaError> {
    let buffer = Buffer::new(card, size * size, "a product that is measured")?;
    let number = |index: usize| {
        let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Bf16::from_f32((mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    let pattern: Vec<Bf16> = (0..PATTERN.min(size * size)).map(number).collect();
    for at in (0..size * size).step_by(pattern.len()) {
        buffer.write(at, &pattern[..pattern.len().min(size * size - at)])?;
    }
    Ok(buffer)
}

/// Seconds that `launch` takes on the card: the mean of several runs, after one that is not counted.
fn time(card: &Card, launch: impl Fn() -> Result<(), CudaError>) -> Result<f64, CudaError> {
    let timed = |runs: u32| {
        let started = Instant::now();
        for _ in 0..runs {
            launch()?;
        }
        card.synchronise()?;
        Ok(started.elapsed().as_secs_f64().max(1e-9))
    };
    timed(1)?;
    let runs = (MEASURED / timed(1)?).clamp(1.0, MOST_RUNS) as u32;
    Ok(timed(runs)? / f64::from(runs))
}
