//! Rotates heads by their rows' positions.

use candle_core::{Device, Result, Tensor};

use jury_kernels::cpu::rows::RopePairs;

/// Cosine and sine of every row and pair: rows x 1 x pairs.
pub(super) struct Turns {
    cosines: Tensor,
    sines: Tensor,
}

// === impl ParallelFors ===

impl Turns {
    /// Angles are computed in double precision; cosines and sines are multiplied by `magnitude`.
    pub(super) fn new(
        positions: &[usize],
        frequencies: &[f64],
        magnitude: f64,
        device: &Device,
    ) -> Result<Turns> {
        let angles = positions.iter().flat_map(|&position| {
            frequencies.iter().map(move |frequency| position as f64 * frequency)
        });
        let scaled = |value: f64| (value * magnitude) as f32;
        let (cosines, sines): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| (scaled(libm::cos(angle)), scaled(libm::sin(angle)))).unzip();
        let shape = (positions.len(), 1, frequencies.len());
        Ok(Turns {
            cosines: Tensor::from_vec(cosines, shape, device)?,
            sines: Tensor::from_vec(sines, shape, device)?,
        })
    }

    /// Rotates the first elements of all heads (rows x heads x head size), as many as there are pairs for.
    pub(super) fn rotate(&self, pairs: RopePairs, heads: &Tensor) -> Result<Tensor> {
        let (rows, count, all) = heads.dims3()?;
        let size = 2 * self.cosines.dim(2)?;
        if size < all {
            let turned = self.rotate(pairs, &heads.narrow(2, 0, size)?)?;
            return Tensor::cat(&[turned, heads.narrow(2, size, all - size)?], 2);
        }
        let (x, y) = match pairs {
            RopePairs::Halves => {
                (heads.narrow(2, 0, size / 2)?, heads.narrow(2, size / 2, size / 2)?)
            }
            RopePairs::Neighbours => {
                let pairs = heads.reshape((rows, count, size / 2, 2))?;
                (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
            }
        };
        let first = (x.broadcast_mul(&self.cosines)? - y.broadcast_mul(&self.sines)?)?;
        let second = (x.broadcast_mul(&self.sines)? + y.broadcast_mul(&self.cosines)?)?;
        match pairs {
            RopePairs::Halves => Tensor::cat(&[first, second], 2),
            RopePairs::Neighbours => Tensor::stack(&[first, second], 3)?.flatten_from(2),
        }
    }
}
