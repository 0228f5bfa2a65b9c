//! How llama-server is started and asked: what may differ, and what is always the same.

use std::path::Path;

use serde::Serialize;

use crate::verdicts::config::Config;

/// Least piece of a cached prompt that is used at another place, in tokens.
const REUSE_TOKENS: usize = 64;

/// Which of its settings; the others are always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `-fa on`, else `off`.
    pub flash_attention: bool,
    /// `-kvu`, one buffer of keys and values for all slots, else one for each.
    pub unified: bool,
    /// `n_cmpl`: the samples that share a prompt are one request, whose prompt is read once; else each is a request.
    pub grouped: bool,
    pub drafts: Drafting,
}

/// Whether it drafts the next tokens of a sample from what stands before, as ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drafting {
    Off,
    /// `--spec-type ngram-simple` as it is: up to 48 tokens after 12 that stood there before.
    Ngram,
    /// The same with the sizes of ours: up to 8 tokens after 3.
    ShortNgram,
}

// === impl Setting ===

impl Setting {
    /// What most often was the fastest.
    pub const USUAL: Self = Self::grouped(true, true);
    /// Each in turn.
    pub const GROUPED: [Self; 4] = [
        Self::grouped(false, false),
        Self::grouped(true, false),
        Self::grouped(false, true),
        Self::USUAL,
    ];

    const fn grouped(flash_attention: bool, unified: bool) -> Self {
        Self { flash_attention, unified, grouped: true, drafts: Drafting::Off }
    }

    /// A sample that has its scores ends at once, but each reads the prompt anew: most often slower by far.
    pub fn ungrouped(self) -> Self {
        Self { grouped: false, ..self }
    }

    /// As it is typed, nearly.
    pub fn describe(self) -> String {
        let grouped = if self.grouped { ", n_cmpl" } else { "" };
        let drafts = match self.drafts {
            Drafting::Off => "",
            Drafting::Ngram => ", ngram-simple",
            Drafting::ShortNgram => ", ngram-simple n 3 m 8",
        };
        format!("-fa {} {}{grouped}{drafts}", self.attention(), self.buffer())
    }

    fn attention(self) -> &'static str {
        if self.flash_attention { "on" } else { "off" }
    }

    fn buffer(self) -> &'static str {
        if self.unified { "-kvu" } else { "-no-kvu" }
    }

    /// The server's command line. A slot has a context of so many tokens.
    pub fn arguments(self, config: &Config, model: &Path, slot_context: usize) -> Vec<String> {
        let slots = config.in_flight();
        let threads = config.threads.to_string();
        let options = [
            ("-m", model.display().to_string()),
            ("--host", "127.0.0.1".to_owned()),
            // Any that is free; its log tells which.
            ("--port", "0".to_owned()),
            ("-np", slots.to_string()),
            ("-c", (slots * slot_context).to_string()),
            ("-t", threads.clone()),
            ("-tb", threads),
            ("-fa", self.attention().to_owned()),
            ("--cache-reuse", REUSE_TOKENS.to_string()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let switches = ["--cache-prompt", "--cont-batching", self.buffer()];
        let switches = switches.iter().chain(self.drafts.arguments()).copied();
        options.chain(switches.map(str::to_owned)).collect()
    }
}

// === impl Drafting ===

impl Drafting {
    /// All ways to draft.
    pub const ON: [Self; 2] = [Self::Ngram, Self::ShortNgram];

    fn arguments(self) -> &'static [&'static str] {
        const SIZES: &[&str] = &[
            "--spec-type",
            "ngram-simple",
            "--spec-ngram-simple-size-n",
            "3",
            "--spec-ngram-simple-size-m",
            "8",
        ];
        match self {
            Self::Off => &[],
            Self::Ngram => &["--spec-type", "ngram-simple"],
            Self::ShortNgram => SIZES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchCommand;
    use crate::args::tests::command;

    fn typed(setting: Setting) -> String {
        let words = "jury bench verdicts --items i --model-cache m --threads 2 --at-once 2";
        let BenchCommand::Verdicts(args) = command(words) else { unreachable!() };
        let config = Config::try_from(*args).unwrap();
        setting.arguments(&config, Path::new("a.gguf"), 1024).join(" ")
    }

    #[test]
    fn every_sample_in_flight_has_a_slot_and_its_context() {
        let typed = typed(Setting::GROUPED[0]);
        assert!(typed.contains("-np 16 -c 16384 -t 2 -tb 2 -fa off"), "{typed}");
        assert!(typed.ends_with("--cache-prompt --cont-batching -no-kvu"), "{typed}");
    }

    #[test]
    fn what_it_drafts_with_stands_on_its_command_line_and_in_its_name() {
        let drafting = |drafts| Setting { drafts, ..Setting::USUAL };
        let plain = drafting(Drafting::Ngram);
        assert!(typed(plain).ends_with("-kvu --spec-type ngram-simple"));
        assert_eq!(plain.describe(), "-fa on -kvu, n_cmpl, ngram-simple");
        let short = drafting(Drafting::ShortNgram);
        let sizes = "--spec-ngram-simple-size-n 3 --spec-ngram-simple-size-m 8";
        assert!(typed(short).ends_with(sizes));
        assert_eq!(short.describe(), "-fa on -kvu, n_cmpl, ngram-simple n 3 m 8");
        assert_eq!(Setting::USUAL.ungrouped().describe(), "-fa on -kvu");
    }
}
