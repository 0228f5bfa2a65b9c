//! Writes one small model in both formats. Contents are exact in bf16 and f16, including Gemma's norms with their
//! offset of 1.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tempfile::TempDir;

use crate::files::ModelFiles;

pub(in crate::model) const LAYERS: usize = 2;
pub(in crate::model) const VOCABULARY: usize = 48;

/// A model before it is written.
#[derive(Debug, Clone)]
pub(in crate::model) struct Written {
    /// `config.json`.
    pub(in crate::model) config: String,
    /// GGUF's metadata, without the tokens.
    pub(in crate::model) metadata: Vec<(String, Meta)>,
    pub(in crate::model) tensors: Vec<Tensor>,
    /// Number of GGUF's tokens.
    pub(in crate::model) vocabulary: usize,
}

/// A tensor under both names.
#[derive(Debug, Clone)]
pub(in crate::model) struct Tensor {
    pub(in crate::model) folder: String,
    pub(in crate::model) gguf: String,
    /// The contiguous dimension last.
    pub(in crate::model) shape: Vec<usize>,
    pub(in crate::model) values: Vec<f32>,
    /// The version in GGUF, if it differs.
    pub(in crate::model) in_gguf: Option<(Vec<usize>, Vec<f32>)>,
}

#[derive(Debug, Clone)]
pub(in crate::model) enum Meta {
    Size(u32),
    Float(f32),
    Text(&'static str),
}

// === impl Written ===

impl Written {
    pub(in crate::model) fn new(architecture: &'static str, config: &str) -> Written {
        Written {
            config: config.to_owned(),
            metadata: vec![("general.architecture".to_owned(), Meta::Text(architecture))],
            tensors: Vec::new(),
            vocabulary: VOCABULARY,
        }
    }

    pub(in crate::model) fn meta(mut self, entries: &[(&str, Meta)]) -> Written {
        let Meta::Text(architecture) = self.metadata[0].1 else { panic!("no architecture") };
        let prefixed =
            |(key, value): &(&str, Meta)| (format!("{architecture}.{key}"), value.clone());
        self.metadata.extend(entries.iter().map(prefixed));
        self
    }

    /// Adds a tensor outside the layers.
    pub(in crate::model) fn tensor(mut self, folder: &str, gguf: &str, shape: &[usize]) -> Written {
        self.tensors.push(Tensor::new(folder, gguf, shape));
        self
    }

    /// Adds tensors to some layers.
    pub(in crate::model) fn layers(
        mut self,
        layers: std::ops::Range<usize>,
        parts: &[(&str, &str, &[usize])],
    ) -> Written {
        for layer in layers {
            for (folder, gguf, shape) in parts {
                let (folder, gguf) =
                    (format!("model.layers.{layer}.{folder}"), format!("blk.{layer}.{gguf}"));
                self.tensors.push(Tensor::new(&folder, &gguf, shape));
            }
        }
        self
    }

    /// Adds the matrices of attention with heads, and the norm before it.
    pub(in crate::model) fn heads(
        self,
        layers: std::ops::Range<usize>,
        width: usize,
        queries: usize,
        keys: usize,
    ) -> Written {
        self.layers(
            layers,
            &[
                ("input_layernorm.weight", "attn_norm.weight", &[width]),
                ("self_attn.q_proj.weight", "attn_q.weight", &[queries, width]),
                ("self_attn.k_proj.weight", "attn_k.weight", &[keys, width]),
                ("self_attn.v_proj.weight", "attn_v.weight", &[keys, width]),
                ("self_attn.o_proj.weight", "attn_output.weight", &[width, queries]),
            ],
        )
    }

    /// Adds the matrices of dense feed-forward networks.
    pub(in crate::model) fn dense(
        self,
        layers: std::ops::Range<usize>,
        width: usize,
        hidden: usize,
    ) -> Written {
        self.layers(
            layers,
            &[
                ("mlp.gate_proj.weight", "ffn_gate.weight", &[hidden, width]),
                ("mlp.up_proj.weight", "ffn_up.weight", &[hidden, width]),
                ("mlp.down_proj.weight", "ffn_down.weight", &[width, hidden]),
            ],
        )
    }

    /// Changes the GGUF version of the tensors whose GGUF name ends with this.
    pub(in crate::model) fn in_gguf(
        mut self,
        ending: &str,
        change: impl Fn(&Tensor) -> (Vec<usize>, Vec<f32>),
    ) -> Written {
        for tensor in &mut self.tensors {
            if tensor.gguf.ends_with(ending) {
                tensor.in_gguf = Some(change(tensor));
            }
        }
        self
    }

    pub(in crate::model) fn gguf(&self) -> ModelFiles {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), self.gguf_bytes()).unwrap();
        ModelFiles::open(file.path()).unwrap()
    }

    pub(in crate::model) fn folder(&self, dtype: Dtype) -> Folder {
        let folder = Folder { home: TempDir::new().unwrap() };
        fs::write(folder.file("config.json"), &self.config).unwrap();
        write_shard(&folder.file("model.safetensors"), &self.tensors, dtype);
        folder
    }

    /// The weights in two files with an index.
    pub(in crate::model) fn sharded(&self) -> Folder {
        let folder = Folder { home: TempDir::new().unwrap() };
        fs::write(folder.file("config.json"), &self.config).unwrap();
        let (first, second) = self.tensors.split_at(self.tensors.len() / 2);
        let mut map = serde_json::Map::new();
        for (name, tensors) in
            [("model-1-of-2.safetensors", first), ("model-2-of-2.safetensors", second)]
        {
            write_shard(&folder.file(name), tensors, Dtype::F32);
            map.extend(tensors.iter().map(|tensor| (tensor.folder.clone(), name.into())));
        }
        let index = serde_json::json!({ "metadata": {}, "weight_map": map });
        fs::write(folder.file("model.safetensors.index.json"), index.to_string()).unwrap();
        folder
    }

    /// The GGUF file. Its last byte is the last byte of a tensor.
    pub(in crate::model) fn gguf_bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        let number = |out: &mut Vec<u8>, number: usize| out.extend((number as u64).to_le_bytes());
        let text = |out: &mut Vec<u8>, text: &str| {
            number(out, text.len());
            out.extend(text.as_bytes());
        };
        number(&mut out, self.tensors.len());
        number(&mut out, self.metadata.len() + 1);
        for (key, value) in &self.metadata {
            text(&mut out, key);
            match value {
                Meta::Size(size) => out.extend([4u32, *size].map(u32::to_le_bytes).concat()),
                Meta::Float(float) => {
                    out.extend(6u32.to_le_bytes());
                    out.extend(float.to_le_bytes());
                }
                Meta::Text(value) => {
                    out.extend(8u32.to_le_bytes());
                    text(&mut out, value);
                }
            }
        }
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend([9u32, 8].map(u32::to_le_bytes).concat());
        number(&mut out, self.vocabulary);
        (0..self.vocabulary).for_each(|token| text(&mut out, &token.to_string()));
        let mut data = Vec::new();
        for tensor in &self.tensors {
            let (shape, values) = match &tensor.in_gguf {
                Some((shape, values)) => (shape, values),
                None => (&tensor.shape, &tensor.values),
            };
            text(&mut out, &tensor.gguf);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|&size| number(&mut out, size));
            out.extend(0u32.to_le_bytes());
            number(&mut out, data.len());
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(data);
        out
    }
}

// === impl Tensor ===

impl Tensor {
    fn new(folder: &str, gguf: &str, shape: &[usize]) -> Tensor {
        // Multiples of 1/32 from -2 to 2, different for every name.
        let mut state = folder.bytes().fold(17u64, |sum, byte| sum * 31 % 65_521 + u64::from(byte));
        let values = (0..shape.iter().product()).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) % 129) as f32 / 32.0 - 2.0
        });
        Tensor {
            folder: folder.to_owned(),
            gguf: gguf.to_owned(),
            values: values.collect(),
            shape: shape.to_vec(),
            in_gguf: None,
        }
    }
}

/// A folder that lasts as long as the test.
pub(in crate::model) struct Folder {
    home: TempDir,
}

// === impl Folder ===

impl Folder {
    pub(in crate::model) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(in crate::model) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(in crate::model) fn open(&self) -> ModelFiles {
        ModelFiles::open(self.path()).unwrap()
    }
}

pub(in crate::model) fn write_shard(path: &Path, tensors: &[Tensor], dtype: Dtype) {
    let bytes_of = |tensor: &Tensor| -> Vec<u8> {
        let values = tensor.values.iter();
        match dtype {
            Dtype::F16 => values.flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            Dtype::F32 | Dtype::I32 => values.flat_map(|x| x.to_le_bytes()).collect(),
            other => panic!("tests write no {other:?}"),
        }
    };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(bytes_of).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        (tensor.folder.clone(), TensorView::new(dtype, tensor.shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

/// A qwen3 model: no tensor differs between the forms.
pub(in crate::model) fn qwen3() -> Written {
    let config = r#"{"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "vocab_size": 48, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0, "tie_word_embeddings": false}"#;
    Written::new("qwen3", config)
        .meta(&sizes(64, 4, 2, 96))
        .meta(&[
            ("attention.key_length", Meta::Size(32)),
            ("attention.value_length", Meta::Size(32)),
            ("rope.freq_base", Meta::Float(1_000_000.0)),
        ])
        .tensor("model.embed_tokens.weight", "token_embd.weight", &[VOCABULARY, 64])
        .tensor("model.norm.weight", "output_norm.weight", &[64])
        .tensor("lm_head.weight", "output.weight", &[VOCABULARY, 64])
        .heads(0..LAYERS, 64, 128, 64)
        .dense(0..LAYERS, 64, 96)
        .layers(
            0..LAYERS,
            &[
                ("self_attn.q_norm.weight", "attn_q_norm.weight", &[32]),
                ("self_attn.k_norm.weight", "attn_k_norm.weight", &[32]),
                ("post_attention_layernorm.weight", "ffn_norm.weight", &[64]),
            ],
        )
}

pub(in crate::model) fn sizes(
    width: u32,
    heads: u32,
    kv_heads: u32,
    hidden: u32,
) -> Vec<(&'static str, Meta)> {
    vec![
        ("block_count", Meta::Size(LAYERS as u32)),
        ("context_length", Meta::Size(512)),
        ("embedding_length", Meta::Size(width)),
        ("feed_forward_length", Meta::Size(hidden)),
        ("attention.head_count", Meta::Size(heads)),
        ("attention.head_count_kv", Meta::Size(kv_heads)),
        ("attention.layer_norm_rms_epsilon", Meta::Float(1e-5)),
    ]
}
