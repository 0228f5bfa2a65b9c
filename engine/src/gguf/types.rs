//! The names of GGUF's weight types, for error messages about unsupported ones.

use jury_kernels::blocks::BlockType;

/// Names by code, as in llama.cpp; empty for withdrawn codes.
const NAMES: [&str; 41] = [
    "F32",
    "F16",
    "Q4_0",
    "Q4_1",
    "Q4_2",
    "Q4_3",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q8_1",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "Q8_K",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ3_XXS",
    "IQ1_S",
    "IQ4_NL",
    "IQ3_S",
    "IQ2_S",
    "IQ4_XS",
    "I8",
    "I16",
    "I32",
    "I64",
    "F64",
    "IQ1_M",
    "BF16",
    "Q4_0_4_4",
    "Q4_0_4_8",
    "Q4_0_8_8",
    "TQ1_0",
    "TQ2_0",
    "IQ4_NL_4_4",
    "IQ4_NL_4_8",
    "IQ4_NL_8_8",
    "MXFP4",
    "NVFP4",
];

/// Why a tensor's weights cannot be read, and what to do.
pub(super) fn refusal(tensor: &str, code: u32) -> String {
    let name = match NAMES.get(code as usize) {
        Some(name) => format!("type {name}"),
        None => format!("a type with the unknown code {code}"),
    };
    let known: Vec<String> = (0..NAMES.len() as u32)
        .filter_map(BlockType::from_code)
        .map(|block_type| format!("{block_type:?}"))
        .collect();
    let known = known.join(", ");
    format!(
        "tensor {tensor:?} has weights of {name}; {known} can run: take another file of this model, as Q4_K_M or \
         Q4_0, or make one with llama.cpp's llama-quantize"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_can_run_has_the_name_of_its_code() {
        let known = (0..100u32).filter_map(|code| Some((code, BlockType::from_code(code)?)));
        for (code, block_type) in known {
            assert_eq!(NAMES[code as usize], format!("{block_type:?}"));
        }
    }

    #[test]
    fn types_that_cannot_run_are_called_by_name() {
        for (code, name) in [(16, "type IQ2_XXS"), (39, "type MXFP4"), (99, "unknown code 99")] {
            let why = refusal("output.weight", code);
            assert!(why.contains(name) && why.contains("Q4_K_M"), "{why}");
        }
    }
}
