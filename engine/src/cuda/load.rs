//! Loads a model onto a card.

use std::collections::{HashMap, VecDeque};

use super::buffers::Buffers;
use super::products::ModelProducts;
use super::tables::Cut;
use super::weights::Weights;
use super::{CardMemory, CardModel, Lane, memory, sizes};
use crate::config::EngineConfig;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::Shape;
use jury_kernels::cuda::{Buffer, Card, CudaError, Kernels, Products};

// === impl CardModel ===

impl CardModel {
    /// Loads a model onto a card, and takes the rest of its memory, or what the configuration allows, for keys and
    /// values.
    ///
    /// # Errors
    /// The files are damaged, the kernels do not support the model, or the card is missing, too old or too small.
    pub(crate) fn load(
        ordinal: usize,
        files: &ModelFiles,
        shape: &Shape,
        config: &EngineConfig,
    ) -> Result<CardModel, LoadError> {
        sizes::runnable(shape, config.card_weights).map_err(|why| files.unsupported(why))?;
        let failed = |error: CudaError| LoadError::Device(format!("cuda:{ordinal}: {error}"));
        let card = Card::open(ordinal).map_err(failed)?;
        let kernels = Kernels::load(&card, sizes::attention(shape)).map_err(failed)?;
        let products = Products::new(&card).map_err(failed)?;
        let capacity = memory::Capacity::of(shape, config);
        let demand = memory::Demand::of(
            shape,
            &capacity,
            config.card_weights,
            Weights::has_head(files, shape),
        );
        demand.check(card.free_bytes().map_err(failed)?).map_err(LoadError::Device)?;
        let most_positions = config.context_of(shape.context_length);
        let weights = Weights::load(&card, files, shape, most_positions, config.card_weights)?;
        let buffers = Buffers::new(&card, shape, &capacity).map_err(failed)?;
        let algorithms =
            ModelProducts::choose(&card, &kernels, &products, &weights, &buffers, shape)
                .map_err(failed)?;
        let free = card.free_bytes().map_err(failed)?;
        let budget = demand.budget(config, shape.context_length);
        let pages = demand.pages(free, budget).map_err(LoadError::Device)?;
        // One extra page, which padding rows write to.
        let [keys, values] = demand.page_elements.map(|elements| (pages + 1) * elements);
        let keys = Buffer::zeroed(&card, keys, "keys").map_err(failed)?;
        let values = Buffer::zeroed(&card, values, "values").map_err(failed)?;
        let memory = CardMemory {
            weight_bytes: demand.weights,
            kv_bytes: (keys.bytes() + values.bytes()) as u64,
            buffer_bytes: demand.buffers,
        };
        let (major, minor) = card.facts().capability;
        let numerics = format!(
            "cuda-{}-v{}-sm{major}{minor}x{}-lt{}",
            config.card_weights,
            jury_kernels::cuda::KERNELS_VERSION,
            card.facts().multiprocessors,
            products.version()
        );
        let facts = card.facts();
        tracing::info!(
            card = facts.name,
            weight_bytes = demand.weights,
            buffer_bytes = demand.buffers,
            pages,
            bitwise = algorithms.are_invariant(),
            "model loaded to the card"
        );
        Ok(CardModel {
            card,
            shape: shape.clone(),
            numerics,
            kernels,
            products,
            algorithms,
            weights,
            keys,
            values,
            pages,
            buffers,
            cut: Cut::of(shape, config.card_shares),
            memory,
            lanes: [Lane::default(), Lane::default()],
            under_way: VecDeque::new(),
            landed: 0,
            graphs: HashMap::new(),
            lost: None,
        })
    }
}
