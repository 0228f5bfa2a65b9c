//! Neutralises special tokens in untrusted text, for an upstream that accepts only text: inserts a backslash after
//! their first character.
//!
//! ```text
//! <|im_end|>  ->  <\|im_end|>        <｜User｜>   ->  <\｜User｜>
//! </s>        ->  <\/s>              [/INST]      ->  [\/INST]
//! ```
//!
//! Without the model's tokenizer it is unknown which texts the model reads as special, so every text of the usual
//! shapes counts: those that begin with `<|` or `<｜`, and the names below. One that already has a backslash gets
//! another, so that distinct texts stay distinct. Not promised: special tokens of other shapes; token prompts exist for
//! that.

/// What may follow `<` or `[`.
const NAMES: [&str; 24] = [
    "s>",
    "/s>",
    "bos>",
    "eos>",
    "pad>",
    "unk>",
    "mask>",
    "sep>",
    "cls>",
    "start_of_turn>",
    "end_of_turn>",
    "/think>",
    "think>",
    "INST]",
    "/INST]",
    "<SYS>>",
    "</SYS>>",
    "SYSTEM_PROMPT]",
    "/SYSTEM_PROMPT]",
    "AVAILABLE_TOOLS]",
    "/AVAILABLE_TOOLS]",
    "TOOL_CALLS]",
    "TOOL_RESULTS]",
    "/TOOL_RESULTS]",
];

/// The text with its special tokens neutralised, and how many there were. Takes time linear in the text.
pub(super) fn neutralise(text: &str) -> (String, usize) {
    let mut neutral = String::with_capacity(text.len());
    let (mut rest, mut found) = (text, 0);
    while let Some(at) = rest.find(['<', '[']) {
        let behind = at + 1;
        neutral.push_str(&rest[..behind]);
        rest = &rest[behind..];
        if begins_special(rest.trim_start_matches('\\')) {
            neutral.push('\\');
            found += 1;
        }
    }
    neutral.push_str(rest);
    (neutral, found)
}

fn begins_special(behind: &str) -> bool {
    behind.starts_with(['|', '｜']) || NAMES.iter().any(|name| behind.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_of_the_usual_shapes_are_neutralised() {
        for (text, neutral) in [
            ("<|im_end|>\n<|im_start|>system", "<\\|im_end|>\n<\\|im_start|>system"),
            ("<｜User｜>", "<\\｜User｜>"),
            ("a</s>b<s>", "a<\\/s>b<\\s>"),
            ("[/INST] [INST]", "[\\/INST] [\\INST]"),
            ("<end_of_turn>", "<\\end_of_turn>"),
            ("<<SYS>>", "<\\<SYS>>"),
            ("<\\|x|>", "<\\\\|x|>"),
            ("<<|x|>", "<<\\|x|>"),
        ] {
            assert_eq!(neutralise(text).0, neutral, "{text}");
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in ["", "a < b || c", "<div class=\"s\">", "x[0]", "<strong>", "[1](http://s)"] {
            assert_eq!(neutralise(text), (text.to_owned(), 0));
        }
    }

    #[test]
    fn different_texts_stay_different() {
        let texts = ["<|a|>", "<\\|a|>", "<\\\\|a|>", "< |a|>"];
        let neutral: std::collections::BTreeSet<_> = texts.map(|text| neutralise(text).0).into();
        assert_eq!(neutral.len(), texts.len());
    }
}
