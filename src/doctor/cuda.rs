//! NVIDIA GPUs: the libraries that they need, the GPUs themselves, and their speed.

use jury_engine::cuda::{self, CardError, CardFacts, CardLimits, DRIVER};
use serde::Serialize;

use super::facts::Answer;

/// The GPUs of a machine and their libraries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cuda {
    /// The driver: its file, or that it is not found, as on every machine without an NVIDIA GPU.
    pub driver: Answer,
    /// cuBLASLt: its file, or how to install it. `None` without a driver: not checked.
    pub products: Option<Answer>,
    pub cards: Vec<Card>,
    /// Why the GPUs cannot be queried although the libraries are installed.
    pub failure: Option<String>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The value for --device.
    pub device: String,
    pub name: String,
    pub memory_bytes: u64,
    /// Compute capability.
    pub capability: String,
    pub multiprocessors: usize,
    /// The newest CUDA version that its driver supports.
    pub driver_cuda: String,
    /// Its measured limits; `None` if it cannot be used, for the reason in `failure`.
    pub limits: Option<Limits>,
    pub failure: Option<String>,
}

/// The measured limits of a GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    pub free_bytes: u64,
    /// Bytes read and written by a copy per second, in 10^9.
    pub copy_gbps: f64,
    /// Operations per second of a product in bfloat16, in 10^12.
    pub product_tflops: f64,
    /// Rows and columns of its matrices.
    pub product_size: usize,
}

// === impl Cuda ===

impl Cuda {
    /// Looks for GPUs, and measures each for about a second.
    pub fn look() -> Self {
        let file = |name: &str| {
            let file = cuda::opened_file(name).map(|file| file.display().to_string());
            Answer::Works(file.unwrap_or_else(|| "found".to_owned()))
        };
        let none = |driver, products| Self { driver, products, cards: Vec::new(), failure: None };
        let libraries = match cuda::open_libraries(None) {
            Err(why @ CardError::Library { name, .. }) => {
                let missing = Answer::Fails(why.to_string());
                return match name == DRIVER {
                    true => none(missing, None),
                    false => none(file("libcuda.so"), Some(missing)),
                };
            }
            Err(why) => {
                let driver = Answer::Fails(why.to_string());
                return none(driver, None);
            }
            Ok(()) => none(file("libcuda.so"), Some(file("libcublasLt.so"))),
        };
        match cuda::cards() {
            Ok(cards) => Self { cards: cards.iter().map(Card::look).collect(), ..libraries },
            Err(why) => Self { failure: Some(why.to_string()), ..libraries },
        }
    }

    /// Whether the NVIDIA driver is installed, so that a GPU is to be expected.
    pub fn has_driver(&self) -> bool {
        matches!(self.driver, Answer::Works(_))
    }

    /// The GPU that `--device auto` uses: the first, if it can be used.
    pub fn taken(&self) -> Option<&Card> {
        self.cards.first().filter(|card| card.failure.is_none())
    }
}

// === impl Card ===

impl Card {
    fn look(facts: &CardFacts) -> Self {
        let (limits, failure) = match cuda::measure(facts.ordinal) {
            Ok(limits) => (Some(limits.into()), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let (major, minor) = facts.capability;
        Self {
            device: format!("cuda:{}", facts.ordinal),
            name: facts.name.clone(),
            memory_bytes: facts.memory_bytes,
            capability: format!("{major}.{minor}"),
            multiprocessors: facts.multiprocessors,
            driver_cuda: format!("{}.{}", facts.driver / 1000, facts.driver % 1000 / 10),
            limits,
            failure,
        }
    }
}

// === impl Limits ===

impl From<CardLimits> for Limits {
    fn from(limits: CardLimits) -> Self {
        let CardLimits { free_bytes, copy_gbps, product_tflops, product_size } = limits;
        Self { free_bytes, copy_gbps, product_tflops, product_size }
    }
}
