//! NVIDIA cards: the libraries that they need, what there is, and how fast it is.

use jury_engine::cuda::{self, CardError, CardFacts, CardLimits, DRIVER};
use serde::Serialize;

use super::facts::Answer;

/// What a machine's cards and their libraries say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cuda {
    /// The driver: its file, or that there is none, as on every machine without a card.
    pub driver: Answer,
    /// cuBLASLt: its file, or how to get it. `None` without a driver: nobody has looked.
    pub products: Option<Answer>,
    pub cards: Vec<Card>,
    /// Why the cards cannot be looked at, although the libraries are here.
    pub failure: Option<String>,
}

/// One card.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// As --device takes it.
    pub device: String,
    pub name: String,
    pub memory_bytes: u64,
    /// Compute capability.
    pub capability: String,
    pub multiprocessors: usize,
    /// The newest CUDA that its driver knows.
    pub driver_cuda: String,
    /// What it can do at most; `None`: why nothing can be computed on it is in `failure`.
    pub limits: Option<Limits>,
    pub failure: Option<String>,
}

/// What a card can do at most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    pub free_bytes: u64,
    /// Bytes read and written a second by a copy, in 10^9.
    pub copy_gbps: f64,
    /// Operations a second of a product in bfloat16, in 10^12.
    pub product_tflops: f64,
    /// Rows and columns of its matrices.
    pub product_size: usize,
}

// === impl Cuda ===

impl Cuda {
    /// Looks, and measures each card for about a second.
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

    /// Whether there is NVIDIA's driver, so that a card is to be expected.
    pub fn has_driver(&self) -> bool {
        matches!(self.driver, Answer::Works(_))
    }

    /// The card that `--device auto` tries: the first, if it computes.
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
