//! candle-transformers' models, with the file's weights and with every weight as f32.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};

/// Maps tokens from a position on to the logits after the last one; position 0 starts a new text.
pub type Forward = Box<dyn FnMut(&Tensor, usize) -> Result<Tensor>>;

/// Builds a family's model from an opened file.
pub type Build = fn(Content, &mut File) -> Result<Forward>;

pub fn llama(content: Content, file: &mut File) -> Result<Forward> {
    let mut model = quantized_llama::ModelWeights::from_gguf(content, file, &Device::Cpu)?;
    Ok(Box::new(move |tokens, position| model.forward(tokens, position)))
}

pub fn qwen2(content: Content, file: &mut File) -> Result<Forward> {
    let mut model = quantized_qwen2::ModelWeights::from_gguf(content, file, &Device::Cpu)?;
    Ok(Box::new(move |tokens, position| model.forward(tokens, position)))
}

/// One text at a time; only new tokens are computed.
pub struct Candle {
    forward: Forward,
    seen: usize,
}

impl Candle {
    pub fn quantised(path: &Path, build: Build) -> Self {
        Self::open(&mut File::open(path).unwrap(), build)
    }

    /// The same file with every weight as f32; on disk, because another copy in memory would be large.
    pub fn exact(path: &Path, build: Build) -> Self {
        let mut file = File::open(path).unwrap();
        let content = Content::read(&mut file).unwrap();
        let names: Vec<&String> = content.tensor_infos.keys().collect();
        let tensors: Vec<QTensor> = names
            .iter()
            .map(|name| {
                let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
                let exact = tensor.dequantize(&Device::Cpu).unwrap();
                QTensor::quantize(&exact, GgmlDType::F32).unwrap()
            })
            .collect();
        let metadata: Vec<(&str, &_)> =
            content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let named: Vec<(&str, &QTensor)> =
            names.iter().map(|name| name.as_str()).zip(&tensors).collect();
        let mut exact = BufWriter::new(tempfile::tempfile().unwrap());
        write(&mut exact, &metadata, &named).unwrap();
        exact.flush().unwrap();
        drop(tensors);
        Self::open(exact.get_mut(), build)
    }

    fn open(file: &mut File, build: Build) -> Self {
        file.seek(SeekFrom::Start(0)).unwrap();
        let content = Content::read(file).unwrap();
        Self { forward: build(content, file).unwrap(), seen: 0 }
    }

    /// Starts another text.
    pub fn restart(&mut self) {
        self.seen = 0;
    }

    /// The logits after a text that continues the last one.
    pub fn logits_after(&mut self, tokens: &[u32]) -> Vec<f32> {
        let fresh = Tensor::new(&tokens[self.seen..], &Device::Cpu).unwrap();
        let logits = (self.forward)(&fresh.unsqueeze(0).unwrap(), self.seen).unwrap();
        self.seen = tokens.len();
        logits.squeeze(0).unwrap().to_vec1().unwrap()
    }
}
