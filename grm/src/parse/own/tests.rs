use proptest::prelude::*;

use super::*;

fn seen(text: &str) -> String {
    own_words(text, Begins::Plainly).0.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn thoughts_fences_and_quotations_are_not_the_models_own_words() {
    for (text, own) in [
        ("a <think>b</think> c", "a c"),
        ("<Thinking>\nb\n\nc\n</THINKING>\nd", "d"),
        ("a <think>b <think>c</think> d</think> e", "a e"),
        ("a\n<think>b\nc", "a"),
        ("thought\n</think>\na", "a"),
        ("a <thinker>b", "a <thinker>b"),
        ("a\n```text\nb\n```\nc", "a c"),
        ("a\n~~~~\nb\n~~~\nc\n~~~~\nd", "a d"),
        ("a\n```\nb", "a"),
        ("```a``` b", "` ` ` b"),
        ("a\n> b\n- > c\nd", "a d"),
        ("a \"b\" c", "a \" c"),
        ("a `b` “c” «d» e", "a ` “ « e"),
        ("a \"b\nc", "a \" c"),
        ("a \"<think>\" c", "a \" c"),
        ("it's 5 o'clock", "it's 5 o'clock"),
    ] {
        assert_eq!(seen(text), own, "{text:?}");
    }
}

#[test]
fn what_is_open_is_closed_in_its_own_way() {
    for (text, closing) in [
        ("a", ""),
        ("<think>a", "</think>\n"),
        ("<think>a <think>b", "</think>\n</think>\n"),
        ("~~~~ text\na", "~~~~\n"),
    ] {
        assert_eq!(own_words(text, Begins::Plainly).1.closing(), closing, "{text:?}");
    }
}

#[test]
fn a_thought_that_the_prompt_opened_is_the_models_thought() {
    for (text, own) in [
        ("b\nScores: 1\n</think>\na", "a"),
        ("b", ""),
        ("<think>\nb</think> a", "a"),
        ("b <think>c</think> d</think> a", "a"),
    ] {
        let seen = own_words(text, Begins::InThought).0;
        assert_eq!(seen.trim(), own, "{text:?}");
    }
    for (prompt_end, begins) in [
        ("<|im_start|>assistant\n<think>\n", Begins::InThought),
        ("<｜Assistant｜><Think>", Begins::InThought),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", Begins::Plainly),
        ("<|im_start|>assistant\n", Begins::Plainly),
        ("write <think> first", Begins::Plainly),
        ("", Begins::Plainly),
    ] {
        assert_eq!(Begins::after(prompt_end), begins, "{prompt_end:?}");
    }
}

proptest! {
    #[test]
    fn every_byte_keeps_its_place(
        text in "(<think>|</think>|```|~~~|`|\"|“|”|>|\n|\r|é|a| ){0,30}",
    ) {
        let (own, open) = own_words(&text, Begins::Plainly);
        prop_assert_eq!(own.len(), text.len());
        for (at, byte) in own.bytes().enumerate() {
            prop_assert!(byte == b' ' || byte == text.as_bytes()[at]);
        }
        prop_assert_eq!(own.matches('\n').count(), text.matches('\n').count());
        let closed = format!("{text}\n{}mine", open.closing());
        prop_assert!(own_words(&closed, Begins::Plainly).0.ends_with("mine"), "{:?}", closed);
    }
}
