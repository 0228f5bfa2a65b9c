//! Groups principles into themes: the words of their names.
//!
//! A principle's name is the text before its weight or its explanation, such as `Accuracy` in `1. **Accuracy** (40
//! %): the facts are right`. Small models write sentences with neither, which count as a whole. The themes of a
//! principle are the words of its name in lower case, without stop words and with plurals reduced to the singular.
//! There is no list of synonyms, so a reader can see why a sample belongs to a theme.

use std::collections::BTreeSet;

/// Maximum words of a name; a longer text is an essay, which names nothing.
const MOST_WORDS: usize = 20;

/// Minimum letters of a meaningful word.
const LEAST_LETTERS: usize = 3;

/// Words that may appear in any principle.
const EMPTY_WORDS: [&str; 54] = [
    "and",
    "the",
    "for",
    "with",
    "from",
    "that",
    "this",
    "are",
    "its",
    "not",
    "all",
    "any",
    "but",
    "can",
    "has",
    "have",
    "into",
    "must",
    "should",
    "was",
    "were",
    "will",
    "what",
    "which",
    "who",
    "how",
    "does",
    "did",
    "been",
    "being",
    "answer",
    "response",
    "question",
    "query",
    "user",
    "criteria",
    "criterion",
    "principle",
    "weight",
    "score",
    "specific",
    "percent",
    "good",
    "each",
    "provide",
    "give",
    "enough",
    "about",
    "your",
    "you",
    "they",
    "would",
    "may",
    "also",
];

/// The themes of a sample's principles, without duplicates.
pub fn themes(principles: &str) -> BTreeSet<String> {
    principles.lines().flat_map(names).flat_map(|name| words(&name)).collect()
}

/// The names in a line: one, or several with a weight each, separated by commas or semicolons.
fn names(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches(|sign: char| {
        sign.is_ascii_digit()
            || matches!(sign, '-' | '*' | '+' | '.' | ')' | '#' | '•' | ' ' | '\t')
    });
    // Explanations are removed; from a list of names, the weights are.
    let several = line.matches('%').count() > 1;
    let parts: Vec<&str> = match several {
        true => line.split([',', ';']).collect(),
        false => vec![line],
    };
    let name = |part: &&str| {
        let end = part.find([':', '(', '[', '=', '–', '—']).unwrap_or(part.len());
        let dash = part.find(" - ").unwrap_or(part.len());
        part[..end.min(dash)].trim().to_owned()
    };
    parts.iter().map(name).filter(|name| name.split_whitespace().count() <= MOST_WORDS).collect()
}

fn words(name: &str) -> Vec<String> {
    let words = name.split(|sign: char| !sign.is_alphabetic()).map(str::to_lowercase);
    let words = words.map(|word| singular(&word).to_owned());
    let says_something =
        |word: &String| word.chars().count() >= LEAST_LETTERS && !EMPTY_WORDS.contains(&&**word);
    words.filter(says_something).collect()
}

fn singular(word: &str) -> &str {
    let is_plural = word.len() > 4
        && word.ends_with('s')
        && !["ss", "us", "is", "ics"].iter().any(|ending| word.ends_with(ending));
    if is_plural { &word[..word.len() - 1] } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(principles: &str) -> Vec<String> {
        themes(principles).into_iter().collect()
    }

    #[test]
    fn a_theme_is_a_word_of_a_principles_name() {
        let principles = "1. **Accuracy of facts** (40 %): the facts are right\n- Clarity: 30%\n* Instruction-following - it does what was asked";
        assert_eq!(of(principles), ["accuracy", "clarity", "fact", "following", "instruction"]);
        assert_eq!(
            of("Accuracy 50%, Completeness 30%; Clarity 20%"),
            ["accuracy", "clarity", "completeness"]
        );
        assert_eq!(of("Factual Accuracy: a\nAccuracy: b"), ["accuracy", "factual"]);
    }

    #[test]
    fn plurals_are_singulars_and_words_that_say_nothing_are_none() {
        assert_eq!(of("The weights of the criteria: 3"), Vec::<String>::new());
        assert_eq!(
            of("Steps: 1\nStep: 2\nConciseness: 3\nEthics: 4"),
            ["conciseness", "ethics", "step"]
        );
        assert_eq!(of("Größe der Lösungen: x"), ["der", "größe", "lösungen"]);
    }

    #[test]
    fn a_sentence_counts_whole_and_an_essay_names_nothing() {
        assert_eq!(of("The answer should provide enough information."), ["information"]);
        assert_eq!(of(&"truth ".repeat(21)), Vec::<String>::new());
        assert_eq!(of(""), Vec::<String>::new());
    }
}
