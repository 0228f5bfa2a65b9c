//! `head.safetensors`: written by `jury train meta`, read by workers.
//!
//! ```text
//! metadata  "jury.head": {"format": 1, "name", "model_digest", "data_digest"?, "place"?} as JSON in one string
//! tensors   mean [width]  deviation [width]  output.weight [width, or inner]  output.bias [1]
//!           calibration [2]: slope, intercept
//!           inner.weight [inner, width]  inner.bias [inner]      for an MLP only
//! ```
//!
//! All numbers are F32. Equal heads give identical bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::{Calibration, Head, HeadCard, HeadError, Network, Standardisation};

/// The only key of the metadata: with several, their order in the file would be arbitrary.
const KEY: &str = "jury.head";
/// Version of the format.
const FORMAT: u32 = 1;
/// Limit: an inner layer of 4,096 over states of 16,384 numbers takes 256 MiB.
const MOST_BYTES: u64 = 257 << 20;

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    #[serde(flatten)]
    card: HeadCard,
}

// === impl Head ===

impl Head {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is not a valid head.
    pub fn load(path: &Path) -> Result<(Head, Vec<u8>), HeadError> {
        let io = |source| HeadError::Io { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > MOST_BYTES {
            let size = path.metadata().map_err(io)?.len();
            let path = path.to_owned();
            return Err(HeadError::TooLarge { path, bytes: size, most: MOST_BYTES });
        }
        Ok((Head::from_bytes(&bytes)?, bytes))
    }

    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// The bytes are not a valid head.
    pub fn from_bytes(bytes: &[u8]) -> Result<Head, HeadError> {
        let no_head = |why: String| HeadError::NotAHead(why);
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| no_head(error.to_string()))?;
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let metadata = metadata.ok_or_else(|| no_head(format!("no metadata {KEY:?}")))?;
        let Metadata { format, card } =
            serde_json::from_str(metadata).map_err(|error| no_head(format!("{KEY}: {error}")))?;
        if format != FORMAT {
            let why = format!("its format is {format}, this version of Jury reads {FORMAT}");
            return Err(no_head(why));
        }
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|error| no_head(error.to_string()))?;
        let (mean, deviation) = (numbers(&tensors, "mean", 1)?, numbers(&tensors, "deviation", 1)?);
        let weights = numbers(&tensors, "output.weight", 1)?;
        let [bias] = fixed(&tensors, "output.bias")?;
        let [slope, intercept] = fixed(&tensors, "calibration")?;
        let network = match tensors.names().contains(&"inner.weight") {
            false => Network::Linear { weights, bias },
            true => Network::Mlp {
                inner_weights: numbers(&tensors, "inner.weight", 2)?,
                inner_bias: numbers(&tensors, "inner.bias", 1)?,
                weights,
                bias,
            },
        };
        let calibration = Calibration { slope, intercept };
        Head::new(card, Standardisation { mean, deviation }, network, calibration)
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let width = self.width();
        let Standardisation { mean, deviation } = &self.standardisation;
        let Calibration { slope, intercept } = self.calibration;
        let calibration = [slope, intercept];
        let mut tensors: Vec<(&str, Vec<usize>, &[f32])> = vec![
            ("mean", vec![width], mean),
            ("deviation", vec![width], deviation),
            ("calibration", vec![2], &calibration),
        ];
        match &self.network {
            Network::Linear { weights, bias } => {
                tensors.push(("output.weight", vec![width], weights));
                tensors.push(("output.bias", vec![1], std::slice::from_ref(bias)));
            }
            Network::Mlp { inner_weights, inner_bias, weights, bias } => {
                let inner = inner_bias.len();
                tensors.push(("inner.weight", vec![inner, width], inner_weights));
                tensors.push(("inner.bias", vec![inner], inner_bias));
                tensors.push(("output.weight", vec![inner], weights));
                tensors.push(("output.bias", vec![1], std::slice::from_ref(bias)));
            }
        }
        let stored: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, shape, numbers)| {
                (name, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            })
            .collect();
        let views = stored.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (*name, view.expect("a sound head's tensors have the sizes of their shapes"))
        });
        let metadata = Metadata { format: FORMAT, card: self.card.clone() };
        let metadata = serde_json::to_string(&metadata).expect("text and a number are JSON");
        serialize(views, Some(HashMap::from([(KEY.to_owned(), metadata)])))
            .expect("names differ and sizes are small")
    }
}

/// A tensor's numbers.
fn numbers(
    tensors: &SafeTensors<'_>,
    name: &str,
    dimensions: usize,
) -> Result<Vec<f32>, HeadError> {
    let tensor = tensors.tensor(name).map_err(|error| HeadError::NotAHead(error.to_string()))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape().len() != dimensions {
        return Err(HeadError::NotAHead(format!(
            "tensor {name} is {:?} {:?}, it must be F32 with {dimensions} dimensions",
            tensor.dtype(),
            tensor.shape()
        )));
    }
    let words = tensor.data().as_chunks().0;
    Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

/// A tensor of exactly `N` numbers.
fn fixed<const N: usize>(tensors: &SafeTensors<'_>, name: &str) -> Result<[f32; N], HeadError> {
    let found = numbers(tensors, name, 1)?;
    let wrong = |found: Vec<f32>| {
        HeadError::NotAHead(format!("tensor {name} has {} numbers, not {N}", found.len()))
    };
    found.try_into().map_err(wrong)
}
