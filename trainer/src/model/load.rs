//! From a model's files to tensors, some of which are trainable.

use candle_core::{Device, Tensor, Var};
use jury_engine::floats::FloatModel;
use jury_grm::random::SplitMix64;

use super::layer::Layer;
use super::linear::{Adapter, Linear, Weight};
use super::{LoraConfig, Parameter, Tuning};
use crate::error::TuneError;

/// Reads weights and collects the trainable ones.
pub(super) struct Loader<'a> {
    pub(super) files: &'a FloatModel,
    pub(super) tuning: &'a Tuning,
    pub(super) parameters: Vec<Parameter>,
    random: SplitMix64,
}

// === impl Loader ===

impl<'a> Loader<'a> {
    pub(super) fn new(files: &'a FloatModel, tuning: &'a Tuning, seed: u64) -> Loader<'a> {
        let random = SplitMix64::for_purpose(seed, "jury lora start");
        Loader { files, tuning, parameters: Vec::new(), random }
    }

    pub(super) fn layer(&mut self, index: usize) -> Result<Layer, TuneError> {
        let sizes = self.files.sizes().clone();
        let (width, hidden) = (sizes.width, sizes.hidden);
        let queries = sizes.heads * sizes.head_size;
        let keys = sizes.kv_heads * sizes.head_size;
        let is_gemma = self.files.stored_norm_offset() > 0.0;
        let feed_norm =
            if is_gemma { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
        let mut linear = |gguf: &str, name: &str, inputs, outputs| {
            let name = format!("model.layers.{index}.{name}");
            self.linear(&format!("blk.{index}.{gguf}"), &name, inputs, outputs)
        };
        let query = linear("attn_q", "self_attn.q_proj", width, queries)?;
        let key = linear("attn_k", "self_attn.k_proj", width, keys)?;
        let value = linear("attn_v", "self_attn.v_proj", width, keys)?;
        let output = linear("attn_output", "self_attn.o_proj", queries, width)?;
        let gate = linear("ffn_gate", "mlp.gate_proj", width, hidden)?;
        let up = linear("ffn_up", "mlp.up_proj", width, hidden)?;
        let down = linear("ffn_down", "mlp.down_proj", hidden, width)?;
        let mut norm = |gguf: &str, name: &str| {
            let name = format!("model.layers.{index}.{name}.weight");
            self.norm(&format!("blk.{index}.{gguf}.weight"), &name)
        };
        Ok(Layer {
            query,
            key,
            value,
            output,
            gate,
            up,
            down,
            attention_norm: needed(norm("attn_norm", "input_layernorm")?)?,
            query_norm: norm("attn_q_norm", "self_attn.q_norm")?,
            key_norm: norm("attn_k_norm", "self_attn.k_norm")?,
            post_attention_norm: norm("post_attention_norm", "post_attention_layernorm")?,
            feed_norm: needed(norm("ffn_norm", feed_norm)?)?,
            post_feed_norm: norm("post_ffw_norm", "post_feedforward_layernorm")?,
            window: sizes.windows[index],
        })
    }

    pub(super) fn output_norm(&mut self) -> Result<Tensor, TuneError> {
        needed(self.norm("output_norm.weight", "model.norm.weight")?)
    }

    /// An embedding table or an output head, which never gets an adapter.
    pub(super) fn table(&mut self, gguf: &str, name: &str) -> Result<Weight, TuneError> {
        let sizes = self.files.sizes();
        let shape = (sizes.vocabulary, sizes.width);
        let floats = self.files.matrix(gguf, sizes.width, sizes.vocabulary)?;
        self.weight(name, Tensor::from_vec(floats, shape, &Device::Cpu)?)
    }

    fn weight(&mut self, name: &str, tensor: Tensor) -> Result<Weight, TuneError> {
        match self.tuning {
            Tuning::Lora(_) => Ok(Weight::Frozen(tensor)),
            Tuning::Full => self.learning(name.to_owned(), &tensor).map(Weight::Learning),
        }
    }

    fn norm(&mut self, gguf: &str, name: &str) -> Result<Option<Tensor>, TuneError> {
        let Some(floats) = self.files.norm(gguf)? else { return Ok(None) };
        let size = floats.len();
        let tensor = Tensor::from_vec(floats, size, &Device::Cpu)?;
        Ok(Some(self.weight(name, tensor)?.tensor().clone()))
    }

    fn linear(
        &mut self,
        gguf: &str,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, TuneError> {
        let floats = self.files.matrix(&format!("{gguf}.weight"), inputs, outputs)?;
        let tensor = Tensor::from_vec(floats, (outputs, inputs), &Device::Cpu)?;
        let weight = self.weight(&format!("{name}.weight"), tensor)?;
        let bias = match self.files.bias(&format!("{gguf}.bias"), outputs)? {
            None => None,
            Some(floats) => {
                let tensor = Tensor::from_vec(floats, outputs, &Device::Cpu)?;
                Some(self.weight(&format!("{name}.bias"), tensor)?.tensor().clone())
            }
        };
        let adapter = match self.tuning {
            Tuning::Lora(lora) if lora.is_target(name) => {
                Some(self.adapter(&lora.clone(), name, inputs, outputs)?)
            }
            _ => None,
        };
        Ok(Linear { weight, bias, adapter })
    }

    /// An adapter that changes nothing yet: `down` initialised as in PEFT (uniform up to 1 / sqrt(inputs)), `up` 0.
    fn adapter(
        &mut self,
        lora: &LoraConfig,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Adapter, TuneError> {
        let bound = 1.0 / (inputs as f64).sqrt();
        let random = &mut self.random;
        let floats: Vec<f32> = (0..lora.rank * inputs)
            .map(|_| ((2.0 * random.uniform() - 1.0) * bound) as f32)
            .collect();
        let down = Tensor::from_vec(floats, (lora.rank, inputs), &Device::Cpu)?;
        let up = Tensor::zeros((outputs, lora.rank), candle_core::DType::F32, &Device::Cpu)?;
        Ok(Adapter {
            down: self.learning(format!("{name}.lora_A.weight"), &down)?,
            up: self.learning(format!("{name}.lora_B.weight"), &up)?,
            scale: lora.scale(),
        })
    }

    fn learning(&mut self, name: String, tensor: &Tensor) -> Result<Tensor, TuneError> {
        let var = Var::from_tensor(tensor)?;
        let tensor = var.as_tensor().clone();
        self.parameters.push(Parameter { name, var });
        Ok(tensor)
    }
}

fn needed(norm: Option<Tensor>) -> Result<Tensor, TuneError> {
    norm.ok_or_else(|| TuneError::setting("model", "it lacks a norm that every family has"))
}
