//! The options that select a model.

use std::path::{Path, PathBuf};

use jury_engine::{Adapter, CardWeights, DeviceKind};
use jury_worker::backend::engine::AdapterConfig;

use super::DEFAULT_MODEL;
use crate::Refused;
use crate::number::threads;

/// The model, and how it runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, a Hugging Face folder of safetensors, or
    /// hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub model: String,
    /// Adapter (LoRA) for the model: a GGUF adapter or a PEFT folder. Requests select it by NAME [default: the name of
    /// the file or folder], and the unadapted model by the model's name. May be repeated: all adapters share one
    /// engine, and their samples are drawn in the same batches
    #[arg(
        long = "adapter",
        env = "JURY_ADAPTERS",
        value_name = "[NAME=]PATH",
        value_delimiter = ',',
        value_parser = adapter,
    )]
    pub adapters: Vec<AdapterConfig>,
    /// Threads of the engine, 1 to 4096 [default: all CPUs available to this process]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// Device: auto (the first NVIDIA GPU if it can run the model, else the CPU), cpu, cuda:N, or metal:N if jury was
    /// built with Metal
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: DeviceKind,
    /// How a GPU is used.
    #[command(flatten)]
    pub card: CardArgs,
    /// Where its file is stored.
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// How a GPU is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, clap::Args)]
pub struct CardArgs {
    /// Data type of the weights on an NVIDIA GPU: bf16, or int8, which takes half the memory and, with few samples
    /// decoding at once, about half the time per step. On the CPU, weights stay as they are in the file [default: bf16]
    #[arg(long, env = "JURY_CARD_WEIGHTS", value_name = "TYPE", value_parser = card_weights)]
    pub card_weights: Option<CardWeights>,
}

/// Where model files are stored.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct CacheArgs {
    /// Folder for downloaded models [default: jury/models in the user's cache folder]
    #[arg(long, env = "JURY_MODEL_CACHE", value_name = "FOLDER")]
    pub model_cache: Option<PathBuf>,
}

// === impl CardArgs ===

impl CardArgs {
    /// Rejects an option that would have no effect.
    ///
    /// # Errors
    /// A GPU's data type of weights on a device that is not an NVIDIA GPU.
    pub fn refuse_without_a_card(&self, device: DeviceKind) -> Result<(), Refused> {
        match (device, self.card_weights) {
            (DeviceKind::Cpu | DeviceKind::Metal(_), Some(CardWeights::Int8)) => {
                let problem = format!(
                    "int8 is for NVIDIA GPUs; --device {device} keeps weights as they are in the file: omit the option"
                );
                Err(Refused::new("--card-weights", problem))
            }
            _ => Ok(()),
        }
    }
}

/// Reads `NAME=PATH`, or only a path; the name is then that of the file or folder.
///
/// # Errors
/// An empty name or path.
pub fn adapter(text: &str) -> Result<AdapterConfig, String> {
    let (name, path) = match text.split_once('=') {
        // A path may have the sign in it, a name has no slash.
        Some((name, path)) if !name.contains('/') => (name.to_owned(), path),
        _ => (adapter_name(Path::new(text)), text),
    };
    if name.is_empty() || path.is_empty() {
        return Err("must be NAME=PATH, or the path of a GGUF adapter or a PEFT folder".to_owned());
    }
    Ok(AdapterConfig { name, path: adapter_at(Path::new(path)) })
}

/// The adapter's own path: `path`, or the folder inside it if `path` is that of `jury train rft` or `rl`.
pub fn adapter_at(path: &Path) -> PathBuf {
    let inside = path.join("adapter");
    let is_a_model = path.join("config.json").is_file();
    let is_inside = !is_a_model && !Adapter::is_at(path) && Adapter::is_at(&inside);
    if is_inside { inside } else { path.to_owned() }
}

/// Reads the data type of weights on a GPU.
fn card_weights(text: &str) -> Result<CardWeights, String> {
    match text {
        "bf16" => Ok(CardWeights::Bfloat16),
        "int8" => Ok(CardWeights::Int8),
        _ => Err("must be bf16 or int8".to_owned()),
    }
}

/// Reads a device: its name, and for a GPU its ordinal (0 if omitted).
///
/// # Errors
/// An unknown device; the message lists the known ones.
pub fn device(text: &str) -> Result<DeviceKind, String> {
    let (name, ordinal) = text.split_once(':').map_or((text, None), |(name, n)| (name, Some(n)));
    let unknown = || "must be auto, cpu, cuda:N or metal:N".to_owned();
    let number = ordinal.unwrap_or("0").parse().map_err(|_| unknown())?;
    match (name, ordinal) {
        ("auto", None) => Ok(DeviceKind::Auto),
        ("cpu", None) => Ok(DeviceKind::Cpu),
        ("cuda", _) => Ok(DeviceKind::Cuda(number)),
        ("metal", _) => Ok(DeviceKind::Metal(number)),
        _ => Err(unknown()),
    }
}

fn adapter_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_on_a_card_are_of_two_kinds() {
        assert_eq!(card_weights("int8"), Ok(CardWeights::Int8));
        assert_eq!(card_weights("bf16"), Ok(CardWeights::Bfloat16));
        assert!(card_weights("q4").unwrap_err().contains("bf16 or int8"));
    }

    #[test]
    fn weights_of_8_bits_are_refused_where_no_card_computes() {
        let eight = CardArgs { card_weights: Some(CardWeights::Int8) };
        let refused = eight.refuse_without_a_card(DeviceKind::Cpu).unwrap_err();
        assert!(refused.to_string().starts_with("--card-weights: int8 is for"), "{refused}");
        assert!(CardArgs::default().refuse_without_a_card(DeviceKind::Cpu).is_ok());
        for device in [DeviceKind::Auto, DeviceKind::Cuda(1)] {
            assert!(eight.refuse_without_a_card(device).is_ok());
        }
    }

    #[test]
    fn a_device_is_read_as_it_is_written() {
        for (text, kind) in [
            ("auto", DeviceKind::Auto),
            ("cpu", DeviceKind::Cpu),
            ("cuda:3", DeviceKind::Cuda(3)),
            ("metal:0", DeviceKind::Metal(0)),
        ] {
            assert_eq!(device(text), Ok(kind));
            assert_eq!(kind.to_string(), text);
        }
        assert_eq!(device("cuda"), Ok(DeviceKind::Cuda(0)));
        for wrong in ["", "gpu", "cpu:1", "auto:0", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(device(wrong).unwrap_err().contains("auto, cpu, cuda:N"), "{wrong}");
        }
    }

    #[test]
    fn an_adapter_is_found_inside_the_folder_of_the_run_that_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("rft");
        let inside = run.join("adapter");
        std::fs::create_dir_all(&inside).unwrap();
        let named = |path: &Path| adapter(path.to_str().unwrap()).unwrap();
        assert_eq!(named(&run).path, run, "nothing is inside yet");
        std::fs::write(inside.join("adapter_config.json"), "{}").unwrap();
        assert_eq!(adapter_at(&inside), inside);
        assert_eq!(named(&run), AdapterConfig { name: "rft".to_owned(), path: inside.clone() });
        std::fs::write(run.join("config.json"), "{}").unwrap();
        assert_eq!(adapter_at(&run), run, "a model's folder is a model's");
    }
}
