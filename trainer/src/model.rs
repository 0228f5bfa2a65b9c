//! A language model whose loss has gradients: one whole sequence at a time, over candle's autograd on the CPU.
//!
//! ```text
//! tokens -> embedding -> layers -> norm -> head (rows of the completion alone) -> log-probabilities -> a loss
//!           each layer's input is kept, and its graph if all of them fit      (layer.rs)
//! loss   -> gradient of the head's part -> for each layer from the last: its graph, its part of the gradient, dropped
//! ```
//!
//! A sequence whose graphs would take more than 2 GiB is computed with only one layer's graph in memory at a time,
//! whatever the number of layers, at the price of a second forward pass (activation checkpointing). Both ways give
//! equal bits. Families: llama, qwen2, qwen3, gemma2, gemma3. With [`Tuning::Lora`] the model's own weights are
//! frozen, and no gradients are computed for them.
//!
//! Sums are computed in a fixed order: equal weights and sequences give equal bits on one machine.

mod layer;
mod linear;
mod load;
mod lora;
mod ops;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use candle_core::{Device, Tensor, Var};
use jury_engine::floats::{FloatModel, Sizes};

use crate::error::TuneError;
use layer::{Layer, Rotation, norm, soft_cap};
use linear::{Linear, Weight};
use load::Loader;
pub use lora::LoraConfig;
use ops::{TargetLogProb, entropies};

/// The graphs of a sequence are kept from the forward pass if they take less than this.
const KEPT_GRAPH_BYTES: usize = 2 << 30;

/// What is trained.
#[derive(Debug, Clone, PartialEq)]
pub enum Tuning {
    /// Low-rank additions to some matrices.
    Lora(LoraConfig),
    /// Every weight.
    Full,
}

/// A trainable tensor.
#[derive(Debug)]
pub struct Parameter {
    /// Transformers' name; for LoRA it contains `lora_A` or `lora_B`.
    pub name: String,
    /// Its values.
    pub var: Var,
}

/// A sequence, and where the part to predict begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Prompt and completion.
    pub tokens: Vec<u32>,
    /// Index of the completion's first token, at least 1.
    pub start: usize,
}

/// A gradient of all parameters, in their order.
#[derive(Debug, Clone)]
pub struct Gradients(Vec<Option<Tensor>>);

/// The result of a pass over a completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Passed {
    /// The loss, for passes that had one.
    pub loss: f64,
    /// Log-probability of each token of the completion.
    pub log_probs: Vec<f32>,
    /// For each token, the entropy of the distribution that it was drawn from, in nats.
    pub entropies: Vec<f32>,
}

/// A model with trainable parameters.
#[derive(Debug)]
pub struct Model {
    sizes: Sizes,
    stored_norm_offset: f32,
    tuning: Tuning,
    embedding: Weight,
    layers: Vec<Layer>,
    output_norm: Tensor,
    head: Linear,
    parameters: Vec<Parameter>,
    /// Indices of the parameters of the embedding, then of each layer, then of norm and head.
    sections: Vec<Vec<usize>>,
}

// === impl Gradients ===

impl Gradients {
    /// The gradient of parameter `index`; `None` if it is 0.
    pub fn of(&self, index: usize) -> Option<&Tensor> {
        self.0.get(index)?.as_ref()
    }

    /// Adds to the gradient of a parameter.
    fn add(&mut self, index: usize, slope: &Tensor) -> Result<(), TuneError> {
        let sum = match &self.0[index] {
            None => slope.clone(),
            Some(before) => (before + slope)?,
        };
        self.0[index] = Some(sum.detach());
        Ok(())
    }
}

// === impl Model ===

impl Model {
    /// Reads a GGUF file (dequantised) or a folder of safetensors, and prepares the trainable parameters. `seed`
    /// determines the initial adapters.
    ///
    /// # Errors
    /// [`TuneError::Load`] for files that cannot be read or trained, [`TuneError::Setting`] for LoRA settings.
    pub fn load(path: &Path, tuning: Tuning, seed: u64) -> Result<Model, TuneError> {
        if let Tuning::Lora(lora) = &tuning {
            lora.check()?;
        }
        let files = FloatModel::open(path)?;
        let mut loader = Loader::new(&files, &tuning, seed);
        let sizes = files.sizes().clone();
        let mut sections = Vec::new();
        let embedding = loader.table("token_embd.weight", "model.embed_tokens.weight")?;
        sections.push((0..loader.parameters.len()).collect());
        let mut layers = Vec::with_capacity(sizes.layers);
        for index in 0..sizes.layers {
            let before = loader.parameters.len();
            layers.push(loader.layer(index)?);
            sections.push((before..loader.parameters.len()).collect());
        }
        let before = loader.parameters.len();
        let output_norm = loader.output_norm()?;
        let head = match (sizes.is_tied, &embedding) {
            (true, Weight::Frozen(table)) => Weight::Frozen(table.clone()),
            (true, Weight::Learning(table)) => Weight::Learning(table.clone()),
            (false, _) => loader.table("output.weight", "lm_head.weight")?,
        };
        let mut of_head: Vec<usize> = (before..loader.parameters.len()).collect();
        if sizes.is_tied && matches!(tuning, Tuning::Full) {
            of_head.push(0);
        }
        sections.push(of_head);
        let parameters = loader.parameters;
        Ok(Model {
            stored_norm_offset: files.stored_norm_offset(),
            sizes,
            tuning,
            embedding,
            layers,
            output_norm,
            head: Linear { weight: head, bias: None, adapter: None },
            parameters,
            sections,
        })
    }

    /// Its sizes.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// What is trained.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The trainable tensors, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The adapted matrices by transformers' names, with their two parameters; none if all weights are trained.
    pub fn adapted(&self) -> impl Iterator<Item = (&str, &Var, &Var)> {
        // They come in pairs, `down` before `up`.
        let pairs = self.parameters.as_chunks::<2>().0.iter();
        pairs.filter_map(|[down, up]| {
            let name = down.name.strip_suffix(".lora_A.weight")?;
            Some((name, &down.var, &up.var))
        })
    }

    /// What transformers subtracts from a norm's factor before it stores it.
    pub fn stored_norm_offset(&self) -> f32 {
        self.stored_norm_offset
    }

    /// An empty gradient.
    pub fn no_gradients(&self) -> Gradients {
        Gradients(vec![None; self.parameters.len()])
    }

    /// Copies of the parameters' values, in their order.
    ///
    /// # Errors
    /// [`TuneError::Compute`].
    pub fn values(&self) -> Result<Vec<Tensor>, TuneError> {
        let copy = |parameter: &Parameter| Ok(parameter.var.as_tensor().detach().copy()?);
        self.parameters.iter().map(copy).collect()
    }

    /// Sets all parameters to values from [`Model::values`].
    ///
    /// # Errors
    /// [`TuneError::Compute`] for tensors of other shapes.
    pub fn set_values(&self, values: &[Tensor]) -> Result<(), TuneError> {
        for (parameter, value) in self.parameters.iter().zip(values) {
            parameter.var.set(value)?;
        }
        Ok(())
    }

    /// Computes a sequence without gradients.
    ///
    /// # Errors
    /// [`TuneError::Setting`] for a sequence that the model cannot process.
    pub fn pass(&self, sequence: &Sequence) -> Result<Passed, TuneError> {
        self.check(sequence)?;
        let rotation = Rotation::new(&self.sizes, sequence.tokens.len())?;
        let mut state = self.embed(sequence)?.detach();
        for layer in &self.layers {
            state = layer.forward(&self.sizes, &rotation, &state)?.detach();
        }
        let (log_probs, entropies) = self.finish(&state, sequence)?;
        Ok(Passed { loss: 0.0, log_probs: log_probs.to_vec1()?, entropies })
    }

    /// Computes a sequence and adds the gradient of `loss` (a scalar function of the completion's log-probabilities)
    /// to `sum`.
    ///
    /// # Errors
    /// As [`Model::pass`], and errors from `loss`.
    pub fn learn(
        &self,
        sequence: &Sequence,
        loss: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
        sum: &mut Gradients,
    ) -> Result<Passed, TuneError> {
        let keeps_graphs = self.graph_bytes(sequence.tokens.len()) <= KEPT_GRAPH_BYTES;
        self.learn_in(sequence, keeps_graphs, loss, sum)
    }

    fn learn_in(
        &self,
        sequence: &Sequence,
        keeps_graphs: bool,
        loss: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
        sum: &mut Gradients,
    ) -> Result<Passed, TuneError> {
        self.check(sequence)?;
        let rotation = Rotation::new(&self.sizes, sequence.tokens.len())?;
        let mut state = self.embed(sequence)?.detach();
        let mut kept = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let input = Var::from_tensor(&state)?;
            let output = layer.forward(&self.sizes, &rotation, input.as_tensor())?;
            state = output.detach();
            kept.push((input, keeps_graphs.then_some(output)));
        }
        let last = Var::from_tensor(&state)?;
        let (log_probs, entropies) = self.finish(last.as_tensor(), sequence)?;
        let loss = loss(&log_probs)?;
        let passed = Passed {
            loss: f64::from(loss.to_scalar::<f32>()?),
            log_probs: log_probs.to_vec1()?,
            entropies,
        };
        let mut slope = self.section(self.layers.len() + 1, &loss, last.as_tensor(), sum)?;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let Some((input, output)) = kept.pop() else { break };
            let output = match output {
                Some(output) => output,
                None => layer.forward(&self.sizes, &rotation, input.as_tensor())?,
            };
            // The gradient of this product with respect to the layer's parameters is the layer's, times the slope of
            // what follows.
            let along = (output * &slope)?.sum_all()?;
            slope = self.section(index + 1, &along, input.as_tensor(), sum)?;
        }
        if !self.sections[0].is_empty() {
            let along = (self.embed(sequence)? * &slope)?.sum_all()?;
            let found = along.backward()?;
            self.collect(0, &found, sum)?;
        }
        Ok(passed)
    }

    /// Approximate memory of all layers' graphs for this many tokens.
    fn graph_bytes(&self, tokens: usize) -> usize {
        let Sizes { width, hidden, heads, layers, .. } = self.sizes;
        let of_token = 16 * width + 6 * hidden + 3 * heads * tokens;
        size_of::<f32>() * of_token * tokens * layers
    }

    fn embed(&self, sequence: &Sequence) -> Result<Tensor, TuneError> {
        let tokens = Tensor::new(sequence.tokens.as_slice(), &Device::Cpu)?;
        let rows = self.embedding.tensor().index_select(&tokens, 0)?;
        Ok((rows * self.sizes.embedding_scale)?)
    }

    /// Log-probabilities of the completion's tokens, and their entropies.
    fn finish(&self, last: &Tensor, sequence: &Sequence) -> Result<(Tensor, Vec<f32>), TuneError> {
        let Sequence { tokens, start } = sequence;
        let rows = last.narrow(0, start - 1, tokens.len() - start)?;
        let normed = norm(&rows, &self.output_norm, self.sizes.norm_epsilon)?;
        let mut logits = self.head.forward(&normed)?;
        if let Some(cap) = self.sizes.logit_softcap {
            logits = soft_cap(&logits, cap)?;
        }
        let entropies = entropies(&logits)?;
        Ok((logits.apply_op1(TargetLogProb(tokens[*start..].to_vec()))?, entropies))
    }

    /// Adds one section's part of the gradient; returns the slope of its input.
    fn section(
        &self,
        section: usize,
        of: &Tensor,
        input: &Tensor,
        sum: &mut Gradients,
    ) -> Result<Tensor, TuneError> {
        let mut found = of.backward()?;
        self.collect(section, &found, sum)?;
        match found.remove(input) {
            Some(slope) => Ok(slope.detach()),
            None => Ok(input.zeros_like()?.detach()),
        }
    }

    fn collect(
        &self,
        section: usize,
        found: &candle_core::backprop::GradStore,
        sum: &mut Gradients,
    ) -> Result<(), TuneError> {
        for &index in &self.sections[section] {
            if let Some(slope) = found.get(self.parameters[index].var.as_tensor()) {
                sum.add(index, slope)?;
            }
        }
        Ok(())
    }

    fn check(&self, sequence: &Sequence) -> Result<(), TuneError> {
        let Sequence { tokens, start } = sequence;
        if *start == 0 || *start >= tokens.len() {
            return Err(TuneError::setting("sequence", "needs a prompt and a completion"));
        }
        if tokens.len() > self.sizes.context_length {
            let (found, most) = (tokens.len(), self.sizes.context_length);
            let why = format!("{found} tokens, the model has a context of {most}");
            return Err(TuneError::setting("sequence", why));
        }
        match tokens.iter().find(|&&token| token as usize >= self.sizes.vocabulary) {
            None => Ok(()),
            Some(token) => {
                let why = format!("token {token} of a vocabulary of {}", self.sizes.vocabulary);
                Err(TuneError::setting("sequence", why))
            }
        }
    }
}

/// Mean negative log-probability: the loss of fine-tuning.
///
/// # Errors
/// candle's.
pub fn mean_nll(log_probs: &Tensor) -> candle_core::Result<Tensor> {
    log_probs.mean_all()?.neg()
}
