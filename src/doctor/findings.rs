//! What the facts mean for judging with this machine.

use serde::Serialize;

use super::facts::{Answer, Facts};
use super::huge_pages::{HugePages, SWITCH};

/// Below this, the default model does not fit: 1.1 GB of weights, repacked, and a cache of keys and values.
const LITTLE_MEMORY_BYTES: u64 = 2_500_000_000;

/// Likely problems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What works badly.
    pub warnings: Vec<String>,
    /// What is configured and cannot work.
    pub broken: Vec<String>,
}

// === impl Findings ===

impl Findings {
    pub fn of(facts: &Facts) -> Self {
        Self { warnings: warnings(facts), broken: broken(facts) }
    }
}

fn warnings(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    if facts.host.threads == 1 {
        found.push(
            "only one thread is available: samples decode at a fraction of the usual speed"
                .to_owned(),
        );
    }
    if facts.host.kernels == "portable" {
        found.push(
            "the portable kernels are in use (on x86-64: no AVX2), many times slower than on a current CPU"
                .to_owned(),
        );
    }
    let memory = facts.host.available_memory_bytes;
    if memory < LITTLE_MEMORY_BYTES {
        found.push(format!(
            "{:.1} GB of memory are available, but the default model needs {:.1} GB: use a smaller one",
            memory as f64 / 1e9,
            LITTLE_MEMORY_BYTES as f64 / 1e9
        ));
    }
    if let Some(Answer::Fails(why)) = &facts.cuda.products {
        found.push(format!("the NVIDIA driver is installed, but no GPU can be used: {why}"));
    }
    if let Some(why) = &facts.cuda.failure {
        found
            .push(format!("the NVIDIA driver is installed, but its GPUs cannot be queried: {why}"));
    }
    for card in &facts.cuda.cards {
        if let Some(why) = &card.failure {
            found.push(format!("{} ({}) cannot be used: {why}", card.device, card.name));
        }
    }
    if facts.huge_pages == Some(HugePages::Never) {
        found.push(format!(
            "huge pages are disabled, so weights are read through 4 KiB pages; to enable them for the engine: `echo madvise | sudo \
             tee {SWITCH}`"
        ));
    }
    if facts.debug_build {
        found.push(
            "this is a debug build: the engine is optimised, but for measurements use `cargo build --release`"
                .to_owned(),
        );
    }
    for (what, answer) in [("python3", &facts.python), ("its pip", &facts.pip)] {
        if let Answer::Fails(why) = answer {
            found.push(format!(
                "{what} cannot be run ({why}): models can be fetched only from the hub, not from the mirror"
            ));
            break;
        }
    }
    for model in facts.cache.models.iter().filter(|model| model.is_damaged()) {
        found.push(format!(
            "{} is not the file of the catalogue: {} bytes instead of {}; it will be fetched again",
            model.file,
            model.bytes,
            model.expected_bytes.unwrap_or_default()
        ));
    }
    found
}

fn broken(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(why) = &facts.cache.not_writable {
        found.push(format!("models cannot be stored in {}: {why}", facts.cache.folder.display()));
    }
    if let Some(Answer::Fails(why)) = &facts.etcd {
        found.push(format!("etcd: {why}"));
    }
    found
}

#[cfg(test)]
pub mod tests {
    use jury_engine::Host;
    use jury_engine::limits::Limits;

    use super::*;
    use crate::doctor::cuda::{Card, Cuda, Limits as CardLimits};
    use crate::doctor::facts::{Cache, CachedModel};
    use crate::doctor::llama_cpp::{LlamaCppProgram, Place};

    /// A machine without problems.
    pub fn sound() -> Facts {
        let model = CachedModel {
            file: "a.gguf".to_owned(),
            bytes: 98_362_432,
            name: Some("a"),
            expected_bytes: Some(98_362_432),
        };
        Facts {
            version: "0.1.0",
            debug_build: false,
            host: Host {
                cpu: "A CPU".to_owned(),
                kernels: "avx512vnni".to_owned(),
                available_kernels: ["portable", "avx2", "avx512vnni"].map(str::to_owned).to_vec(),
                threads: 8,
                available_memory_bytes: 16_000_000_000,
                default_kv_budget_bytes: 4_000_000_000,
            },
            gpu_features: vec![],
            cuda: Cuda {
                driver: Answer::Fails("the CUDA driver is not found".to_owned()),
                products: None,
                cards: Vec::new(),
                failure: None,
            },
            cache: Cache { folder: "/cache".into(), not_writable: None, models: vec![model] },
            python: Answer::Works("Python 3.11.2".to_owned()),
            pip: Answer::Works("pip 23.0".to_owned()),
            llama_cpp: ["llama-batched-bench", "llama-server"].map(llama_cpp).to_vec(),
            huge_pages: Some(HugePages::Madvise),
            etcd: None,
            limits: Limits {
                threads: 8,
                integer_instruction: "an instruction".to_owned(),
                integer_gops: 1_420.0,
                float_gflops: 321.0,
                memory_gbps: 29.0,
            },
        }
    }

    /// A GPU without problems.
    pub fn with_a_card() -> Cuda {
        let card = Card {
            device: "cuda:0".to_owned(),
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            memory_bytes: 85_520_809_984,
            capability: "9.0".to_owned(),
            multiprocessors: 132,
            driver_cuda: "13.0".to_owned(),
            limits: Some(CardLimits {
                free_bytes: 84_900_000_000,
                copy_gbps: 3_010.0,
                product_tflops: 749.5,
                product_size: 8192,
            }),
            failure: None,
        };
        Cuda {
            driver: Answer::Works("/lib/libcuda.so.1".to_owned()),
            products: Some(Answer::Works("/lib/libcublasLt.so.13".to_owned())),
            cards: vec![card],
            failure: None,
        }
    }

    fn llama_cpp(name: &'static str) -> LlamaCppProgram {
        let folder = Some("/tools/llama-cpp/bin".into());
        LlamaCppProgram { name, found: Some(Place { folder, version: "1.2".to_owned() }) }
    }

    #[test]
    fn nothing_is_said_about_a_sound_machine() {
        assert_eq!(Findings::of(&sound()), Findings::default());
        let with_a_card = Facts { cuda: with_a_card(), ..sound() };
        assert_eq!(Findings::of(&with_a_card), Findings::default());
    }

    #[test]
    fn whatever_bites_is_said_once() {
        type Change = fn(&mut Facts);
        let changes: [(&str, Change); 10] = [
            ("pip install", |facts| {
                let why = "cuBLASLt is not found: pip install nvidia-cublas".to_owned();
                facts.cuda = Cuda { products: Some(Answer::Fails(why)), ..with_a_card() };
            }),
            ("queried", |facts| facts.cuda.failure = Some("CUDA_ERROR_UNKNOWN".to_owned())),
            ("cuda:0 (NVIDIA H100", |facts| {
                facts.cuda = with_a_card();
                facts.cuda.cards[0].failure = Some("it is full".to_owned());
            }),
            ("one thread", |facts| facts.host.threads = 1),
            ("portable", |facts| facts.host.kernels = "portable".to_owned()),
            ("1.0 GB", |facts| facts.host.available_memory_bytes = 1_000_000_000),
            ("4 KiB pages", |facts| facts.huge_pages = Some(HugePages::Never)),
            ("debug build", |facts| facts.debug_build = true),
            ("mirror", |facts| facts.pip = Answer::Fails("No module named pip".to_owned())),
            ("fetched again", |facts| facts.cache.models[0].bytes = 7),
        ];
        for (word, change) in changes {
            let mut facts = sound();
            change(&mut facts);
            let findings = Findings::of(&facts);
            assert!(findings.broken.is_empty(), "{word}");
            assert_eq!(findings.warnings.len(), 1, "{word}");
            assert!(findings.warnings[0].contains(word), "{findings:?}");
        }
    }

    #[test]
    fn what_was_configured_and_cannot_work_is_broken() {
        let mut facts = sound();
        facts.etcd = Some(Answer::Works("3 workers".to_owned()));
        assert!(Findings::of(&facts).broken.is_empty());
        facts.etcd = Some(Answer::Fails("no answer".to_owned()));
        facts.cache.not_writable = Some("read-only file system".to_owned());
        assert_eq!(Findings::of(&facts).broken.len(), 2);
    }
}
