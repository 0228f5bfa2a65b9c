//! Whether Linux gives huge pages to whoever asks for them, as the engine does for weights, keys and values.

use serde::Serialize;

/// Where Linux tells, with brackets around what holds.
pub const SWITCH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// To whom huge pages are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HugePages {
    /// To everyone.
    Always,
    /// To whoever asks: as good for us.
    Madvise,
    /// To nobody.
    Never,
}

// === impl HugePages ===

impl HugePages {
    /// `None` where the system does not tell.
    pub fn look() -> Option<Self> {
        Self::parse(&std::fs::read_to_string(SWITCH).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let chosen = text.split_once('[')?.1.split_once(']')?.0;
        match chosen {
            "always" => Some(Self::Always),
            "madvise" => Some(Self::Madvise),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Self::Always => "always given",
            Self::Madvise => "given on request, which the engine makes",
            Self::Never => "never given",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_holds() {
        assert_eq!(HugePages::parse("always [madvise] never\n"), Some(HugePages::Madvise));
        assert_eq!(HugePages::parse("[always] madvise never\n"), Some(HugePages::Always));
        assert_eq!(HugePages::parse("always madvise [never]\n"), Some(HugePages::Never));
        for text in ["", "always", "[sometimes]"] {
            assert_eq!(HugePages::parse(text), None, "{text}");
        }
    }
}
