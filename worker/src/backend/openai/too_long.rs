//! Determines from an upstream's words whether it rejects a prompt for its length: pure.
//!
//! If prompts are sent as text, we cannot count their tokens, and only llama.cpp reports the numbers as fields. So
//! error messages are parsed, of which each server has several. Not promised: that a server keeps its wording. An
//! unknown message is treated as any other rejection.

use super::error::UpstreamError;

/// How messages state the context length; `#` stands for a number.
const CONTEXTS: [&str; 7] = [
    // vLLM, and other servers that use OpenAI's wording
    "maximum context length is # tokens",
    "maximum context length (#)",
    "maximum model length of #",
    // SGLang
    "the model's context length (# tokens)",
    "maximum context length of # tokens",
    // TensorRT-LLM, which also compares a prompt with the capacity of one step
    "should not exceed max_num_tokens (#)",
    "max_seq_len (#)",
];

/// How messages state the number of the prompt's tokens.
const PROMPTS: [&str; 12] = [
    // vLLM: it counts the tokens of a long text only until it exceeds the limit, and says "at least"
    "prompt contains # input tokens",
    "prompt contains at least # input tokens",
    "your request has # input tokens",
    "(# in the messages",
    "(# in the prompt",
    "Input length (#)",
    "prompt (length #)",
    // SGLang
    "The input (# tokens)",
    ": # tokens from the input messages",
    // TensorRT-LLM
    "prompt length (#)",
    "`splited_prompt_len` (#)",
    // OpenAI
    "your messages resulted in # tokens",
];

/// vLLM, for a text with too many characters for any tokenizer.
const CHARACTERS: &str = "prompt contains # characters";

/// The error that `words` describe if a prompt is too long; `None` if they say something else.
pub(super) fn read(words: &str) -> Option<UpstreamError> {
    let first = |forms: &[&str]| forms.iter().find_map(|form| number(words, form));
    let context_tokens = first(&CONTEXTS)?;
    let at_least = || number(words, CHARACTERS).map(|_| context_tokens.saturating_add(1));
    let prompt_tokens = first(&PROMPTS).or_else(at_least)?;
    Some(UpstreamError::TooLong { prompt_tokens, context_tokens })
}

/// The number in `words` at the position of `form`'s `#`. A fraction is dropped.
fn number(words: &str, form: &str) -> Option<u32> {
    let (before, behind) = form.split_once('#')?;
    words.match_indices(before).find_map(|(at, _)| {
        let rest = &words[at + before.len()..];
        let (digits, rest) = rest.split_at(end_of_digits(rest));
        let rest = match rest.strip_prefix('.') {
            Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
                &fraction[end_of_digits(fraction)..]
            }
            _ => rest,
        };
        if digits.is_empty() || !rest.starts_with(behind) {
            return None;
        }
        Some(digits.parse().unwrap_or(u32::MAX))
    })
}

fn end_of_digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_understood_in_its_own_words() {
        for (words, prompt_tokens, context_tokens) in [
            // vLLM 0.32, recorded and by its source
            (
                "This model's maximum context length is 128 tokens. However, your prompt contains 301 input tokens, which exceeds \
                 this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=301)",
                301,
                128,
            ),
            (
                "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, which \
                 exceeds this limit even without any output tokens.",
                2049,
                2048,
            ),
            (
                "This model's maximum context length is 128 tokens. However, your prompt contains 90210 characters (more than 1664 \
                 characters, which is the upper bound for 128 input tokens).",
                129,
                128,
            ),
            ("Input length (3031) exceeds model's maximum context length (2048).", 3031, 2048),
            (
                "The decoder prompt (length 2048) plus the number of requested output tokens (at least 1) is longer than the maximum \
                 model length of 2048. Make sure",
                2048,
                2048,
            ),
            // Older ones
            (
                "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens (2036 in the messages, 64 in \
                 the completion).",
                2036,
                2048,
            ),
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context length is 2048 tokens and your \
                 request has 2036 input tokens (64 > 2048 - 2036).",
                2036,
                2048,
            ),
            // SGLang, by its source
            (
                "The input (3031 tokens) is longer than the model's context length (2048 tokens).",
                3031,
                2048,
            ),
            (
                "Requested token count exceeds the model's maximum context length of 2048 tokens. You requested a total of 2100 \
                 tokens: 2036 tokens from the input messages and 64 tokens for the completion.",
                2036,
                2048,
            ),
            // TensorRT-LLM, by its source
            (
                "The sum of prompt length (3031.0), query length (0) should not exceed max_num_tokens (2048)",
                3031,
                2048,
            ),
            (
                "The sum of prompt length (2036.0) and query length (0) max_tokens (64) should not exceed max_seq_len (2048)",
                2036,
                2048,
            ),
            (
                "`default_max_tokens` (-9) must be greater than 0, `default_max_tokens` (-9) = max_seq_len (2048) - \
                 `splited_prompt_len` (2057) - `query_token_len` (0)",
                2057,
                2048,
            ),
            // OpenAI, and gateways that speak for others
            (
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
                9001,
                8192,
            ),
        ] {
            let expected = UpstreamError::TooLong { prompt_tokens, context_tokens };
            assert_eq!(read(words), Some(expected), "{words}");
        }
    }

    #[test]
    fn other_refusals_are_not_taken_for_it() {
        for words in [
            "",
            "maximum context length is",
            "This model's maximum context length is unknown",
            "This model's maximum context length is 128 tokens.",
            "prompt contains 301 input tokens",
            "max_tokens=9000 cannot be greater than max_model_len=2048. Please request fewer output tokens.",
            "top_logprobs must be at most 20",
        ] {
            assert_eq!(read(words), None, "{words}");
        }
    }

    #[test]
    fn a_number_beyond_all_bounds_is_the_largest() {
        let words = "Input length (99999999999999) exceeds model's maximum context length (2048).";
        let expected = UpstreamError::TooLong { prompt_tokens: u32::MAX, context_tokens: 2048 };
        assert_eq!(read(words), Some(expected));
    }
}
