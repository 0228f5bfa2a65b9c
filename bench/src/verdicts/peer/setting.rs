//! How llama-server is started and called: what varies, and what never changes.

use std::path::Path;

use serde::Serialize;

use crate::verdicts::config::Config;

/// Smallest part of a cached prompt that is reused at another position, in tokens.
const REUSE_TOKENS: usize = 64;

/// One of its settings; the others never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `-fa on`, otherwise `off`.
    pub flash_attention: bool,
    /// `-kvu`: one KV buffer for all slots, otherwise one for each slot.
    pub unified: bool,
    /// `n_cmpl`: samples that share a prompt are one request, whose prompt is read once; otherwise each sample is a
    /// request.
    pub grouped: bool,
    pub drafts: Drafting,
}

/// Whether it drafts the next tokens of a sample from the preceding text, as ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drafting {
    Off,
    /// `--spec-type ngram-simple` with its defaults: up to 48 tokens after a match of 12.
    Ngram,
    /// The same with our sizes: up to 8 tokens after a match of 3.
    ShortNgram,
}

// === impl Setting ===

impl Setting {
    /// The setting that is most often the fastest.
    pub const USUAL: Self = Self::grouped(true, true);
    /// Each one in turn.
    pub const GROUPED: [Self; 4] = [
        Self::grouped(false, false),
        Self::grouped(true, false),
        Self::grouped(false, true),
        Self::USUAL,
    ];

    const fn grouped(flash_attention: bool, unified: bool) -> Self {
        Self { flash_attention, unified, grouped: true, drafts: Drafting::Off }
    }

    /// A sample that has its scores ends at once, but each sample reads the prompt again: usually much slower.
    pub fn ungrouped(self) -> Self {
        Self { grouped: false, ..self }
    }

    /// Nearly as written on the command line.
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

    /// The server's command line. `slot_context` is the context of one slot, in tokens.
    pub fn arguments(self, config: &Config, model: &Path, slot_context: usize) -> Vec<String> {
        let slots = config.in_flight();
        let threads = config.threads.to_string();
        let options = [
            ("-m", model.display().to_string()),
            ("--host", "127.0.0.1".to_owned()),
            // Any free port; the log contains it.
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
