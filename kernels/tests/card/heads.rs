//! Products by head.

use half::bf16;
use jury_kernels::cuda::{AttentionSizes, Buffer, Kernels, Role, Strided};

use crate::card;
use crate::matrices::{Stored, numbers, rounded};

#[test]
fn heads_have_matrices_of_their_own() {
    let (heads, rows, inputs, outputs) = (2, 67, 32, 40);
    let card = card();
    let kernels = Kernels::load(&card, AttentionSizes::Heads(32)).unwrap();
    // Parts of rows, as in latent attention: each vector is followed by something else.
    let (stride, step) = (heads * (inputs + 16) + 8, inputs + 16);
    let (out_stride, out_step) = (heads * (outputs + 8), outputs + 8);
    let x = numbers(5, rows * stride);
    for is_eight in [false, true] {
        let stored = Stored::new(&card, 6, [heads, outputs, inputs], is_eight);
        for role in [Role::Sample, Role::Prompt] {
            let from = Buffer::of(&card, &rounded(&x), "rows").unwrap();
            let to = Buffer::of(&card, &vec![bf16::ONE; rows * out_stride], "outputs").unwrap();
            let strided = Strided { view: from.view(), stride, step };
            let out = Strided { view: to.view(), stride: out_stride, step: out_step };
            kernels.multiply_heads(role, stored.view(), strided, rows, out).unwrap();
            let mut found = vec![bf16::ZERO; rows * out_stride];
            to.read(0, &mut found).unwrap();
            for (index, found) in found.chunks(out_step).enumerate() {
                let (row, head) = (index / heads, index % heads);
                let vector = &x[row * stride + head * step..][..inputs];
                let vector: Vec<f64> = vector.iter().copied().map(f64::from).collect();
                let expected = stored.times(head, &vector);
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found.to_f64() - expected).abs();
                    assert!(error <= expected.abs() / 256.0 + 1e-5, "row {row}, head {head}");
                }
                assert!(found[outputs..].iter().all(|&between| between == bf16::ONE));
            }
        }
    }
}
