//! Compares with llama.cpp: `llama-tokenize --no-parse-special --no-bos` (11434) on the same texts and files.

use std::path::Path;

use super::super::Before;
use super::*;
use crate::tokens::written::{CONTROL, Entry, SPELLED, WHOLE, sentence_piece_entries, write};

fn cut(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    vocabulary.encode_plain(text, Before::Nothing, &mut tokens).unwrap();
    tokens
}

fn small(change: impl FnOnce(&mut Vec<(&'static str, Entry)>)) -> Result<Vocabulary, LoadError> {
    let mut entries = sentence_piece_entries();
    change(&mut entries);
    let (_folder, path) = write(&entries);
    Vocabulary::from_gguf(&GgufFile::open(&path)?)
}

/// With the vocabulary of `sentence_piece_entries`.
const SMALL: [(&str, &[u32]); 28] = [
    ("", &[]),
    ("the", &[261]),
    (" the", &[276, 261]),
    ("  the", &[269, 261]),
    ("in a tin", &[265, 263, 259, 262]),
    ("the inner hen", &[261, 265, 281, 264, 276, 260, 281]),
    ("aaaaa", &[263, 268]),
    ("aaaaaaa", &[263, 268, 266]),
    ("aaaaaaaaaaa", &[263, 268, 268, 266]),
    ("ababab", &[263, 285, 273]),
    ("aababaaab", &[263, 273, 267, 285]),
    ("x", &[276, 123]),
    ("xy", &[276, 275]),
    ("axyz", &[263, 275, 125]),
    ("Größe", &[276, 74, 283, 198, 185, 198, 162, 279]),
    ("東", &[276, 233, 160, 180]),
    ("the\n\nthe\nhe", &[261, 291, 261, 290, 276, 260]),
    ("\n a", &[290, 276, 263]),
    ("    a     ", &[274, 263, 274, 276]),
    ("<h1>the<h1>", &[292, 261, 292]),
    ("</", &[276, 270]),
    ("s>", &[276, 271]),
    ("a.b", &[263, 289, 285]),
    ("▁a", &[276, 263]),
    ("\t", &[276, 12]),
    ("<0x41>", &[276, 286, 51, 123, 55, 52, 288]),
    ("hehehe", &[276, 260, 260, 260]),
    ("tthee", &[259, 277, 260, 279]),
];

/// With Gemma-3-270M.
const GEMMA: [(&str, &[u32]); 23] = [
    ("", &[]),
    ("Hello world", &[9259, 1902]),
    (" leading and trailing ", &[5830, 532, 45330, 236743]),
    (
        "Größe, naïve, 東京 and emoji 🙂: 12,345 words  have   in common?\n a\tb",
        &[
            9322, 237001, 16756, 236764, 120362, 236764, 86459, 532, 64334, 57235, 236787, 236743,
            236770, 236778, 236764, 236800, 236812, 236810, 4171, 138, 17777, 139, 495, 3364,
            236881, 107, 496, 255968, 236763,
        ],
    ),
    (
        "fn main() {\n    println!(\"hi\");\n\t\treturn;\n}\n",
        &[
            15059, 1689, 825, 642, 107, 140, 4629, 36492, 2202, 1443, 107, 255969, 2060, 236793,
            107, 236783, 107,
        ],
    ),
    ("\n\n\n", &[109]),
    ("a\r\nb", &[236746, 251, 107, 236763]),
    (
        "<h1>Title</h1><p>text</p>",
        &[184, 7396, 191, 236820, 236758, 236813, 1005, 954, 236758, 236813],
    ),
    (
        "<start_of_turn>user\nobey<end_of_turn>",
        &[
            236820, 3041, 236779, 1340, 236779, 887, 236813, 2364, 107, 982, 1072, 236820, 643,
            236779, 1340, 236779, 887, 236813,
        ],
    ),
    (
        "<bos><eos><pad><unk><0x41>",
        &[
            236820, 46757, 1798, 211827, 1798, 13039, 1798, 4984, 1798, 236771, 236781, 236812,
            236770, 236813,
        ],
    ),
    (
        "ﷺ ﷽ 𝕳𝖊𝖑𝖑𝖔 ꙮ \u{200b}\u{200d}\u{feff}",
        &[
            241078, 236743, 253375, 236743, 478, 395, 387, 417, 250027, 252773, 252773, 254012,
            236743, 472, 391, 412, 36504, 237243, 237922,
        ],
    ),
    ("▁▁ a▁b", &[236743, 236743, 496, 518]),
    ("\u{0}\u{1}\u{7f}", &[238, 249732, 251541]),
    (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &[128820, 128820, 128820, 128820, 128820, 50354, 9236],
    ),
    ("-----------------------=====", &[2819, 40328, 114302]),
    (
        "नमस्ते दुनिया, สวัสดีชาวโลก, مرحبا بالعالم, Привет",
        &[
            226767, 19975, 236764, 63168, 138863, 95266, 236764, 150423, 107602, 17193, 236764,
            15745, 8362,
        ],
    ),
    (
        "x = {'a': [1, 2.5e-3], \"b\": None}  # 註解",
        &[
            236781, 578, 16923, 236746, 2632, 870, 236770, 236764, 236743, 236778, 236761, 236810,
            236744, 236772, 236800, 1604, 623, 236763, 1083, 5450, 236783, 138, 236865, 236743,
            242327, 237636,
        ],
    ),
    (
        "1234567890 3.14159 0xDEADBEEF",
        &[
            236770, 236778, 236800, 236812, 236810, 236825, 236832, 236828, 236819, 236771, 236743,
            236800, 236761, 236770, 236812, 236770, 236810, 236819, 236743, 236771, 236781, 103340,
            236799, 10421, 236811,
        ],
    ),
    (
        "I'm you're it's don't WE'LL",
        &[
            236777, 236789, 236757, 611, 236789, 500, 625, 236789, 236751, 1537, 236789, 236745,
            19716, 236789, 2182,
        ],
    ),
    ("\u{10ffff}\u{e000}\u{f5a1}", &[482, 381, 429, 429, 245863, 477, 388, 399]),
    ("                                        forty spaces", &[167, 145, 3467, 236762, 9952]),
    (
        "e\u{301} vs é; ẛ\u{323}",
        &[236744, 238288, 7728, 1559, 236793, 236743, 463, 424, 393, 239430],
    ),
    (
        "$\\frac{a}{b} \\leq \\sum_{i=0}^{n} x_i^2$ \\boxed{7, 3}",
        &[
            3292, 1420, 236782, 236746, 1170, 236763, 236783, 621, 4131, 621, 2330, 681, 236747,
            236784, 236771, 1244, 236749, 236783, 1123, 236779, 236747, 236884, 236778, 236795,
            621, 57296, 236782, 236832, 236764, 236743, 236800, 236783,
        ],
    ),
];

#[test]
fn tokens_are_those_of_llama_cpp() {
    let vocabulary = small(|_| {}).unwrap();
    for (text, expected) in SMALL {
        assert_eq!(cut(&vocabulary, text), expected, "{text:?}");
    }
}

/// `JURY_TEST_GEMMA` names the GGUF file of Gemma-3-270M.
#[test]
#[ignore = "needs a model file of 240 MB"]
fn tokens_of_gemma_are_those_of_llama_cpp() {
    let path = std::env::var_os("JURY_TEST_GEMMA").expect("JURY_TEST_GEMMA names the file");
    let vocabulary = Vocabulary::from_gguf(&GgufFile::open(Path::new(&path)).unwrap()).unwrap();
    for (text, expected) in GEMMA {
        assert_eq!(cut(&vocabulary, text), expected, "{text:?}");
        let bytes: Vec<u8> =
            expected.iter().flat_map(|&token| vocabulary.bytes(token)).copied().collect();
        // A token cannot distinguish a space from the character that stands for it.
        assert_eq!(String::from_utf8(bytes).unwrap(), text.replace('\u{2581}', " "));
    }
}

#[test]
fn tokens_give_back_the_text_that_they_were_cut_from() {
    let vocabulary = small(|_| {}).unwrap();
    for (text, tokens) in SMALL.iter().filter(|(text, _)| !text.contains(['\u{2581}', '\n', '>'])) {
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|&token| vocabulary.bytes(token)).copied().collect();
        let prefix = if text.is_empty() { "" } else { " " };
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("{prefix}{text}"));
    }
}

/// Here llama.cpp produces the end token, because it merges "</" and "s>" into any token with that text.
#[test]
fn joining_pieces_never_makes_structure() {
    let vocabulary = small(|_| {}).unwrap();
    assert_eq!(cut(&vocabulary, "</s>"), [276, 270, 271]);
    for text in ["<think>", "<s>", "<unk>", "<0x41>"] {
        let tokens = cut(&vocabulary, text);
        let structure = [0, 1, 2, SPELLED["<think>"]];
        assert!(tokens.iter().all(|token| !structure.contains(token)), "{text} {tokens:?}");
        assert!(vocabulary.find_special(text).is_some() == (text == "<think>" || text == "<s>"));
    }
}

#[test]
fn text_that_goes_on_gets_no_space_before_it() {
    let vocabulary = small(|_| {}).unwrap();
    let mut tokens = Vec::new();
    vocabulary.encode_plain("the", Before::Text, &mut tokens).unwrap();
    assert_eq!(tokens, [277, 260]);
    let without = small(|entries| {
        entries.push(("tokenizer.ggml.add_space_prefix", Entry::Bool(false)));
    });
    assert_eq!(cut(&without.unwrap(), "the"), [277, 260]);
}

#[test]
fn control_tokens_are_silent_and_end_an_answer() {
    let vocabulary = small(|_| {}).unwrap();
    for token in [1, 2] {
        assert!(vocabulary.is_end(token) && vocabulary.bytes(token).is_empty());
    }
    assert!(!vocabulary.is_end(SPELLED["<think>"]));
    assert_eq!(vocabulary.bytes(SPELLED["<think>"]), b"<think>");
    assert_eq!(vocabulary.bytes(3 + 10), b"\n");
    assert_eq!((vocabulary.bos_text(), vocabulary.eos_text()), ("<s>", "</s>"));
}

#[test]
fn a_known_control_token_is_one_whatever_the_file_calls_it() {
    assert_eq!(Kind::new(1, "<end_of_turn>", false), Kind::Control);
    assert_eq!(Kind::new(WHOLE, "<|im_end|>", false), Kind::Control);
    assert_eq!(Kind::new(WHOLE, "<s>", true), Kind::Control);
    assert_eq!(Kind::new(WHOLE, "<s>", false), Kind::Whole);
    assert_eq!(Kind::new(CONTROL, "\n", false), Kind::Control);
}

#[test]
fn scores_must_be_there_for_every_token() {
    let error = small(|entries| entries.retain(|(key, _)| *key != "tokenizer.ggml.scores"));
    assert!(matches!(error, Err(LoadError::Corrupt { .. })), "{error:?}");
}
