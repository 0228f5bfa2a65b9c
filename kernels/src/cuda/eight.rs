//! Weights of 8 bits, as `product8.cu` reads them: signed bytes, and a scale for every 128 inputs of an output. Pure.

/// Inputs that share a scale.
pub const EIGHT_GROUP: usize = 128;

/// The greatest magnitude of a byte.
const STEPS: f32 = 127.0;

/// Rounds a matrix's row to bytes, to the nearest, and gives the scale of each group to `scale`. In each four bytes the middle two have changed
/// places. A row has a multiple of 4 inputs.
pub fn quantise_eight(row: &[f32], bytes: &mut Vec<u8>, mut scale: impl FnMut(usize, f32)) {
    for (index, group) in row.chunks(EIGHT_GROUP).enumerate() {
        let greatest = group.iter().fold(0.0f32, |greatest, weight| greatest.max(weight.abs()));
        let step = greatest / STEPS;
        // A smaller one has no inverse; such weights are zeros.
        let (step, inverse) =
            if step >= f32::MIN_POSITIVE { (step, 1.0 / step) } else { (0.0, 0.0) };
        scale(index, step);
        for four in group.chunks(4) {
            let code = |input: usize| {
                let weight = four.get(input).copied().unwrap_or(0.0);
                ((weight * inverse).round() as i8).cast_unsigned()
            };
            bytes.extend([code(0), code(2), code(1), code(3)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_within_half_a_step_and_the_greatest_is_exact() {
        let row: Vec<f32> = (0..200).map(|i| ((i * 7919) % 1000) as f32 / 300.0 - 1.7).collect();
        let (mut bytes, mut scales) = (Vec::new(), Vec::new());
        quantise_eight(&row, &mut bytes, |group, scale| {
            assert_eq!(group, scales.len());
            scales.push(scale);
        });
        assert_eq!((bytes.len(), scales.len()), (200, 2));
        for (input, weight) in row.iter().enumerate() {
            let place = input / 4 * 4 + [0, 2, 1, 3][input % 4];
            let scale = scales[input / EIGHT_GROUP];
            let found = f32::from(bytes[place].cast_signed()) * scale;
            assert!((found - weight).abs() <= scale * 0.501, "input {input}");
        }
        assert!(bytes.iter().any(|byte| byte.cast_signed().unsigned_abs() == 127));
    }

    #[test]
    fn a_group_of_zeros_and_of_what_has_no_scale_is_zeros() {
        let mut bytes = Vec::new();
        quantise_eight(&[0.0; 128], &mut bytes, |_, scale| assert_eq!(scale, 0.0));
        quantise_eight(&[-1e-40; 128], &mut bytes, |_, scale| assert_eq!(scale, 0.0));
        assert_eq!(bytes, [0; 256]);
    }
}
