//! How llama-server is started and asked: what is tried, and what is always the same.

use std::path::Path;

use serde::Serialize;

use crate::bench::verdicts::config::Plan;

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
}

// === impl Setting ===

impl Setting {
    /// What is tried first, the fastest of which is tried once more [`Self::ungrouped`].
    pub const GROUPED: [Self; 4] = [
        Self::grouped(false, false),
        Self::grouped(true, false),
        Self::grouped(false, true),
        Self::grouped(true, true),
    ];

    const fn grouped(flash_attention: bool, unified: bool) -> Self {
        Self { flash_attention, unified, grouped: true }
    }

    /// A sample that has its scores ends at once, but each reads the prompt anew: most often slower by far.
    pub fn ungrouped(self) -> Self {
        Self { grouped: false, ..self }
    }

    /// As it is typed.
    pub fn describe(self) -> String {
        let attention = if self.flash_attention { "on" } else { "off" };
        let grouped = if self.grouped { ", n_cmpl" } else { "" };
        format!("-fa {attention} {}{grouped}", self.buffer())
    }

    fn buffer(self) -> &'static str {
        if self.unified { "-kvu" } else { "-no-kvu" }
    }

    /// The server's command line. A slot has a context of so many tokens.
    pub fn arguments(self, plan: &Plan, model: &Path, slot_context: usize) -> Vec<String> {
        let slots = plan.settings.k as usize * plan.at_once;
        let threads = plan.threads.to_string();
        let attention = if self.flash_attention { "on" } else { "off" };
        let options = [
            ("-m", model.display().to_string()),
            ("--host", "127.0.0.1".to_owned()),
            // Any that is free; its log tells which.
            ("--port", "0".to_owned()),
            ("-np", slots.to_string()),
            ("-c", (slots * slot_context).to_string()),
            ("-t", threads.clone()),
            ("-tb", threads),
            ("-fa", attention.to_owned()),
            ("--cache-reuse", REUSE_TOKENS.to_string()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let switches = ["--cache-prompt", "--cont-batching", self.buffer()];
        options.chain(switches.map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, BenchCommand, Command};

    fn typed(setting: Setting) -> String {
        let words = "jury bench verdicts --items i --model-cache m --threads 2 --at-once 2";
        let args = Args::try_parse_from(words.split_whitespace()).unwrap();
        let Command::Bench(args) = args.command else { unreachable!() };
        let BenchCommand::Verdicts(args) = args.command else { unreachable!() };
        let plan = Plan::try_from(*args).unwrap();
        setting.arguments(&plan, Path::new("a.gguf"), 1024).join(" ")
    }

    #[test]
    fn every_sample_in_flight_has_a_slot_and_its_context() {
        let typed = typed(Setting::GROUPED[0]);
        assert!(typed.contains("-np 16 -c 16384 -t 2 -tb 2 -fa off"), "{typed}");
        assert!(typed.ends_with("--cache-prompt --cont-batching -no-kvu"), "{typed}");
    }

    #[test]
    fn what_is_tried_differs_and_reads_as_it_is_typed() {
        let mut tried: Vec<_> = Setting::GROUPED.map(Setting::describe).to_vec();
        tried.push(Setting::GROUPED[3].ungrouped().describe());
        assert_eq!(tried[3], "-fa on -kvu, n_cmpl");
        assert_eq!(tried[4], "-fa on -kvu");
        tried.sort();
        tried.dedup();
        assert_eq!(tried.len(), 5);
    }
}
