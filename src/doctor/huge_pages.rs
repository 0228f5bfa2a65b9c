//! Whether Linux provides huge pages, which the engine requests for weights, keys and values.

use serde::Serialize;

/// The setting of Linux, with brackets around the current value.
pub const SWITCH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The setting of transparent huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HugePages {
    /// For all memory.
    Always,
    /// For memory that requests them: sufficient for the engine.
    Madvise,
    /// Disabled.
    Never,
}

// === impl HugePages ===

impl HugePages {
    /// `None` if the system does not report it.
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
            Self::Always => "always enabled",
            Self::Madvise => "enabled on request (the engine requests them)",
            Self::Never => "disabled",
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
