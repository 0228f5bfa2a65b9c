//! llama.cpp's `llama-batched-bench`: how it is run, and how its output is read.
//!
//! It runs with its best settings: the prompt shared by the samples (`-pps`) in one KV buffer (`-kvu`), with and
//! without flash attention. It draws no tokens, so its decoding is a little cheaper than real decoding.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, anyhow};
use jury_terminal::exit::{Exit, Failed, OrExit};
use serde::{Deserialize, Serialize};

use super::programs::{Found, LastLines, Programs};

/// How often it is run before we give up.
const TRIES: usize = 3;
const PROGRAM: &str = "llama-batched-bench";
/// Its context is always a multiple of this.
const CONTEXT_STEP: usize = 256;

/// A `llama-batched-bench` that works.
#[derive(Debug, Clone)]
pub struct Peer {
    program: PathBuf,
    programs: Programs,
    /// Its version, as it reports it.
    pub version: String,
}

/// One of its settings; the others never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// `-fa off -kvu`.
    Plain,
    /// `-fa on -kvu`.
    FlashAttention,
}

/// One run of the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Question<'a> {
    pub model: &'a Path,
    pub threads: usize,
    pub prompt: usize,
    pub generated: usize,
    /// Numbers of samples, measured one after another.
    pub k: &'a [usize],
    pub setting: Setting,
}

/// The measurement for one number of samples.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Answer {
    /// Number of samples.
    #[serde(rename = "pl")]
    pub k: usize,
    /// Prompt tokens per second.
    #[serde(rename = "speed_pp")]
    pub prefill_rate: f64,
    /// Decoded tokens per second, of all samples together.
    #[serde(rename = "speed_tg")]
    pub decode_rate: f64,
}

/// Other fields of an output line, for checking that it did what was requested.
#[derive(Debug, Deserialize)]
struct Line {
    pp: usize,
    tg: usize,
    is_pp_shared: u8,
    #[serde(flatten)]
    answer: Answer,
}

// === impl Peer ===

impl Peer {
    /// The named program; otherwise the one that `scripts/llama-cpp` installed into `tools`; otherwise the one in
    /// PATH.
    pub fn find(
        named: Option<PathBuf>,
        tools: Option<&Path>,
        programs: Programs,
    ) -> Result<Self, Failed> {
        let Found { program, version } = programs.find_llama_cpp(PROGRAM, named, tools)?;
        Ok(Self { program, programs, version })
    }

    /// Runs it. The answers are in the order of the question's numbers.
    pub fn ask(&self, question: &Question<'_>) -> Result<Vec<Answer>, Failed> {
        let named = || self.program.display().to_string();
        for _ in 0..TRIES {
            let output = self
                .programs
                .output(&self.program, &arguments(question))
                .with_context(named)
                .or_exit(Exit::Unavailable)?;
            let found =
                answers(question, &output).with_context(named).or_exit(Exit::Unavailable)?;
            // A separate thread writes its lines; occasionally the program ends before the last one is out.
            if found.len() == question.k.len() {
                return Ok(found);
            }
        }
        Err(anyhow!("fewer measurements came back than were asked for, {TRIES} times"))
            .with_context(named)
            .or_exit(Exit::Unavailable)
    }
}

// === impl Setting ===

impl Setting {
    pub const ALL: [Self; 2] = [Self::Plain, Self::FlashAttention];

    /// As written on the command line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Plain => "-fa off",
            Self::FlashAttention => "-fa on",
        }
    }

    fn flash_attention(self) -> &'static str {
        match self {
            Self::Plain => "off",
            Self::FlashAttention => "on",
        }
    }
}

// === private ===

fn arguments(question: &Question<'_>) -> Vec<String> {
    let most = question.k.iter().max().copied().unwrap_or(1);
    let context = question.prompt + most * question.generated;
    let numbers: Vec<String> = question.k.iter().map(ToString::to_string).collect();
    let threads = question.threads.to_string();
    let options = [
        ("-m", question.model.display().to_string()),
        ("-c", context.next_multiple_of(CONTEXT_STEP).to_string()),
        ("-npp", question.prompt.to_string()),
        ("-ntg", question.generated.to_string()),
        ("-npl", numbers.join(",")),
        ("-t", threads.clone()),
        ("-tb", threads),
        ("-fa", question.setting.flash_attention().to_owned()),
        ("--output-format", "jsonl".to_owned()),
    ];
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    options.chain(["-pps", "-kvu"].map(str::to_owned)).collect()
}

fn answers(question: &Question<'_>, output: &Output) -> anyhow::Result<Vec<Answer>> {
    let said = || LastLines::of(&output.stderr).describe();
    if !output.status.success() {
        return Err(anyhow!("it ended ({}){}", output.status, said()));
    }
    parse(&String::from_utf8_lossy(&output.stdout), question)
}

/// Reads its output: one JSON object per measurement, among other lines.
fn parse(text: &str, question: &Question<'_>) -> anyhow::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for line in text.lines().filter(|line| line.trim_start().starts_with('{')) {
        let found: Line = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let sizes = (found.pp, found.tg, found.is_pp_shared);
        if sizes != (question.prompt, question.generated, 1)
            || question.k.get(answers.len()) != Some(&found.answer.k)
        {
            return Err(anyhow!("measured something else than was asked: {line}"));
        }
        answers.push(found.answer);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lines as the program printed them.
    const PRINTED: &str = r#"
{"n_kv_max": 1024, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 0, "is_pp_shared": 1, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 128, "tg": 8, "pl": 1, "n_kv": 136, "t_pp": 6.354315, "speed_pp": 20.143793, "t_tg": 2.973820, "speed_tg": 2.690143, "t": 9.328135, "speed": 14.579550}
{"n_kv_max": 1024, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 0, "is_pp_shared": 1, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 128, "tg": 8, "pl": 4, "n_kv": 160, "t_pp": 6.822080, "speed_pp": 18.762606, "t_tg": 2.908056, "speed_tg": 11.003915, "t": 9.730136, "speed": 16.443758}

"#;

    fn question(k: &[usize], prompt: usize) -> Question<'_> {
        let (model, setting) = (Path::new("a.gguf"), Setting::Plain);
        Question { model, threads: 2, prompt, generated: 8, k, setting }
    }

    #[test]
    fn what_it_prints_is_read() {
        let answers = parse(PRINTED, &question(&[1, 4], 128)).unwrap();
        assert_eq!(answers.len(), 2);
        let expected = Answer { k: 4, prefill_rate: 18.762606, decode_rate: 11.003915 };
        assert_eq!(answers[1], expected);
    }

    #[test]
    fn another_size_than_asked_is_no_answer() {
        assert!(parse(PRINTED, &question(&[1, 4], 512)).is_err());
        assert!(parse(PRINTED, &question(&[1, 8], 128)).is_err());
        assert!(parse(PRINTED, &question(&[1], 128)).is_err());
        let unshared = PRINTED.replace("\"is_pp_shared\": 1", "\"is_pp_shared\": 0");
        assert!(parse(&unshared, &question(&[1, 4], 128)).is_err());
    }

    #[test]
    fn its_context_holds_the_prompt_once_and_every_sample() {
        let typed = arguments(&question(&[1, 32], 512)).join(" ");
        assert!(typed.contains("-c 768 -npp 512 -ntg 8 -npl 1,32"), "{typed}");
        assert!(typed.ends_with("-pps -kvu"), "{typed}");
    }
}
