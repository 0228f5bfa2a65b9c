//! Requirements of the kernels on a model's sizes.

use super::Shape;
use jury_kernels::cpu::GROUP;

/// Explains why the forward pass cannot run a shape, if so.
pub(crate) fn runnable(shape: &Shape) -> Result<(), String> {
    let mut sizes = vec![
        ("key size", shape.key_size),
        ("value size", shape.value_size),
        ("width", shape.width),
        ("hidden size", shape.hidden),
    ];
    if let Some(latent) = shape.latent {
        sizes.extend([
            ("rank of latent attention", latent.rank),
            ("size of a query's part that is not rotated", latent.nope_size),
            ("value size of latent attention", latent.value_size),
            ("rank of queries", latent.query_rank.unwrap_or(0)),
        ]);
    }
    if let Some(experts) = &shape.experts {
        sizes.push(("hidden size of experts", experts.hidden));
    }
    match sizes.into_iter().find(|(_, size)| !size.is_multiple_of(GROUP)) {
        None => Ok(()),
        Some((what, size)) => Err(format!("{what} of {size}, which is not a multiple of {GROUP}")),
    }
}
