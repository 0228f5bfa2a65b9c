//! 8-bit weights in the layout of `product8.cu`: signed bytes, and one scale for every 128 inputs of an output. Pure.

/// Inputs that share a scale.
pub const EIGHT_GROUP: usize = 128;

/// The greatest magnitude of a byte.
const STEPS: f32 = 127.0;

/// Rounds one row of a matrix to bytes (to nearest): one byte per input, and one scale per [`EIGHT_GROUP`] inputs. In
/// each four bytes the middle two are swapped. The row's length must be a multiple of 4.
pub fn quantise_eight(row: &[f32], bytes: &mut [u8], scales: &mut [f32]) {
    let groups = row.chunks(EIGHT_GROUP).zip(bytes.chunks_mut(EIGHT_GROUP));
    for ((group, bytes), scale) in groups.zip(scales) {
        let greatest = group.iter().fold(0.0f32, |greatest, weight| greatest.max(weight.abs()));
        let step = greatest / STEPS;
        // A smaller scale has no finite inverse; such weights become zeros.
        let inverse;
        (*scale, inverse) = if step >= f32::MIN_POSITIVE { (step, 1.0 / step) } else { (0.0, 0.0) };
        let code = |weight: f32| ((weight * inverse).round() as i8).cast_unsigned();
        let (fours, _) = group.as_chunks();
        for (&[a, b, c, d], bytes) in fours.iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&[code(a), code(c), code(b), code(d)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_within_half_a_step_and_the_greatest_is_exact() {
        let row: Vec<f32> = (0..200).map(|i| ((i * 7919) % 1000) as f32 / 300.0 - 1.7).collect();
        let (mut bytes, mut scales) = ([0; 200], [0.0; 2]);
        quantise_eight(&row, &mut bytes, &mut scales);
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
        for weight in [0.0, -1e-40] {
            let (mut bytes, mut scales) = ([1; 128], [1.0]);
            quantise_eight(&[weight; 128], &mut bytes, &mut scales);
            assert_eq!((bytes, scales), ([0; 128], [0.0]));
        }
    }
}
