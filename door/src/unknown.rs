//! `jury-unknown-fields`: the keys of a body that nobody looks at, short enough for every proxy and client.
//!
//! Programs that dump whole chat messages send the same few keys in each turn, so a key is told once, without the places of
//! its turns.

use std::collections::HashSet;

use axum::http::HeaderValue;

/// nginx holds all headers of an answer in 4 KiB, aiohttp takes lines of 8 KiB; a lost answer is a lost verdict.
const LONGEST_BYTES: usize = 1024;
/// A name beyond it is cut: it must not hide the others.
const LONGEST_KEY_BYTES: usize = 128;
/// Room for ", and N more".
const REST_BYTES: usize = 32;

/// The header's value; nothing where every key is known.
pub(crate) fn header(paths: &[String]) -> Option<HeaderValue> {
    let mut seen = HashSet::new();
    let keys = paths.iter().map(|path| written(path)).filter(|key| seen.insert(key.clone()));
    let (mut listed, mut left_out) = (String::new(), 0_usize);
    for key in keys {
        let separator = if listed.is_empty() { "" } else { ", " };
        if left_out > 0 || listed.len() + separator.len() + key.len() + REST_BYTES > LONGEST_BYTES {
            left_out += 1;
        } else {
            listed.push_str(separator);
            listed.push_str(&key);
        }
    }
    if left_out > 0 {
        listed.push_str(&format!(", and {left_out} more"));
    }
    (!listed.is_empty()).then(|| HeaderValue::from_str(&listed).ok()).flatten()
}

/// A path in ASCII, without the digits of its indices, and cut where it is long.
fn written(path: &str) -> String {
    let mut key = String::new();
    for (at, part) in path.split('[').enumerate() {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_index = at > 0 && rest.len() < part.len() && rest.starts_with(']');
        key.push_str(if at > 0 { "[" } else { "" });
        key.push_str(if is_index { rest } else { part });
    }
    let mut key = key.escape_default().to_string();
    if key.len() > LONGEST_KEY_BYTES {
        key.truncate(LONGEST_KEY_BYTES);
        key.push_str("...");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(paths: &[&str]) -> String {
        let paths: Vec<_> = paths.iter().map(|&path| path.to_owned()).collect();
        header(&paths).expect("keys are told").to_str().unwrap().to_owned()
    }

    #[test]
    fn a_key_of_many_turns_is_told_once() {
        let paths =
            ["budget", "item.query[1].audio", "item.query[3].audio", "item.responses[0].audio"];
        assert_eq!(told(&paths), "budget, item.query[].audio, item.responses[].audio");
        assert_eq!(told(&["a[b", "a[7", "[12]x"]), "a[b, a[7, []x");
        assert_eq!(header(&[]), None);
    }

    #[test]
    fn keys_beyond_a_header_that_everybody_takes_are_counted() {
        let many: Vec<_> = (0..5000).map(|at| format!("key{at}")).collect();
        let value = header(&many).unwrap();
        let text = value.to_str().unwrap();
        assert!(text.len() <= LONGEST_BYTES, "{}", text.len());
        let (listed, rest) = text.rsplit_once(", and ").unwrap();
        let n_listed = listed.split(", ").count();
        assert_eq!(rest, format!("{} more", 5000 - n_listed));
        assert!(n_listed > 100, "{n_listed}");
    }

    #[test]
    fn a_name_of_any_length_or_letters_does_not_hide_the_others() {
        let long = "é".repeat(5000);
        let text = told(&[&long, "budget"]);
        assert!(text.len() < 200 && text.starts_with("\\u{e9}"), "{text}");
        assert!(text.ends_with("..., budget"), "{text}");
        assert_eq!(told(&["a\r\nb"]), "a\\r\\nb");
    }
}
