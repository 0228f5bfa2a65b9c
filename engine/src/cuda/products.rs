//! The model's matrix products: how each kind of matrix is multiplied, for each role of rows.

use super::CardModel;
use super::buffers::Buffers;
use super::sizes::largest_matrix;
use super::weights::{Feed, Gated, Weight, WeightView, Weights};
use crate::model::Shape;
use jury_kernels::cuda::{
    Algorithms, Bf16, Buffer, Card, CudaError, EightMatrix, Kernels, Matrix, Output, Products,
    Role, View,
};

/// All products of a model. Matrices of one kind have equal sizes in all layers: the first layer's are used for trials.
#[derive(Debug)]
pub(crate) struct ModelProducts {
    pub(crate) projections: Product,
    pub(crate) output: Product,
    /// Of layers with one network.
    pub(crate) dense: Option<GatedProducts>,
    /// For layers with experts: the router, and the network that sees every token.
    pub(crate) router: Option<Product>,
    pub(crate) shared: Option<GatedProducts>,
    /// For all rows whose logits are wanted; they count as rows of samples.
    pub(crate) head: Product,
    /// Room for an 8-bit matrix expanded to bfloat16, for prompt rows: with so many rows, the conversion costs little.
    /// Empty if no matrix has 8 bits.
    widened: Buffer<Bf16>,
}

/// Those of a feed-forward network.
#[derive(Debug)]
pub(crate) struct GatedProducts {
    pub(crate) gate_up: Product,
    pub(crate) down: Product,
}

/// One kind of matrix.
#[derive(Debug)]
pub(crate) struct Product {
    samples: Way,
    /// `None` for the head.
    prompts: Option<Way>,
}

/// How the rows of a role are multiplied.
#[derive(Debug)]
enum Way {
    /// By cuBLASLt.
    Library(Algorithms),
    /// By our own kernel, for 8-bit weights.
    Own,
    /// By cuBLASLt, after converting 8-bit weights to bfloat16.
    Widened(Algorithms),
}

/// What trials of algorithms need; they overwrite the buffers.
struct Trials<'a> {
    kernels: &'a Kernels,
    products: &'a Products,
    buffers: &'a Buffers,
    widened: &'a Buffer<Bf16>,
    /// Target of outputs that are added to the stream.
    joined: Output<'a>,
}

// === impl ModelProducts ===

impl ModelProducts {
    /// Chooses the algorithms; overwrites the buffers.
    pub(crate) fn choose(
        card: &Card,
        kernels: &Kernels,
        products: &Products,
        weights: &Weights,
        buffers: &Buffers,
        shape: &Shape,
    ) -> Result<ModelProducts, CudaError> {
        let elements = if weights.are_eight() { largest_matrix(shape) } else { 0 };
        let widened = Buffer::new(card, elements, "widened weights")?;
        let joined = buffers.joined(shape);
        let trials = Trials { kernels, products, buffers, widened: &widened, joined };
        let attention = &weights.layers[0].attention;
        let dense = weights.layers.iter().find_map(|layer| match &layer.feed {
            Feed::Dense(gated) => Some(gated),
            Feed::Experts(_) => None,
        });
        let experts = weights.layers.iter().find_map(|layer| match &layer.feed {
            Feed::Dense(_) => None,
            Feed::Experts(experts) => Some(experts),
        });
        let shared = experts.and_then(|experts| experts.shared.as_ref());
        let normed = buffers.normed.view();
        let projected = Output::Rounded(buffers.projected.view());
        let scores = Output::Floats(buffers.experts.scores.view());
        let router = experts.map(|experts| trials.both(&experts.router, normed, scores));
        let logits = Output::Floats(buffers.outputs[0].logits.view());
        Ok(ModelProducts {
            projections: trials.both(&attention.projections, normed, projected)?,
            output: trials.both(&attention.output, buffers.output_inputs(), trials.joined)?,
            dense: dense.map(|gated| trials.gated(gated)).transpose()?,
            router: router.transpose()?,
            shared: shared.map(|gated| trials.gated(gated)).transpose()?,
            head: trials.samples(weights.head(), buffers.wanted_normed.view(), logits)?,
            widened,
        })
    }

    /// Whether a row's bits do not depend on the rows beside it.
    pub(crate) fn are_invariant(&self) -> bool {
        let gated = [&self.dense, &self.shared].into_iter().flatten();
        let gated = gated.flat_map(|gated| [&gated.gate_up, &gated.down]);
        let single = [&self.projections, &self.output, &self.head];
        single.into_iter().chain(&self.router).chain(gated).all(Product::is_invariant)
    }
}

// === impl Product ===

impl Product {
    fn is_invariant(&self) -> bool {
        [Some(&self.samples), self.prompts.as_ref()].into_iter().flatten().all(|way| match way {
            Way::Library(algorithms) | Way::Widened(algorithms) => algorithms.is_invariant(),
            Way::Own => true,
        })
    }
}

// === impl Trials ===

impl Trials<'_> {
    fn gated(&self, gated: &Gated) -> Result<GatedProducts, CudaError> {
        let (normed, hidden) = (self.buffers.normed.view(), self.buffers.hidden.view());
        let gates = Output::Rounded(self.buffers.gate_up.view());
        Ok(GatedProducts {
            gate_up: self.both(&gated.gate_up, normed, gates)?,
            down: self.both(&gated.down, hidden, self.joined)?,
        })
    }

    fn both(
        &self,
        weight: &Weight,
        rows: View<'_, Bf16>,
        out: Output<'_>,
    ) -> Result<Product, CudaError> {
        let choose = |role| self.choose(role, weight, rows, out);
        Ok(Product { samples: choose(Role::Sample)?, prompts: Some(choose(Role::Prompt)?) })
    }

    fn samples(
        &self,
        weight: &Weight,
        rows: View<'_, Bf16>,
        out: Output<'_>,
    ) -> Result<Product, CudaError> {
        Ok(Product { samples: self.choose(Role::Sample, weight, rows, out)?, prompts: None })
    }

    fn choose(
        &self,
        role: Role,
        weight: &Weight,
        rows: View<'_, Bf16>,
        out: Output<'_>,
    ) -> Result<Way, CudaError> {
        let choose = |matrix| self.products.choose(role, matrix, rows, out);
        match (weight.view(), role) {
            (WeightView::Rounded(matrix), _) => choose(matrix).map(Way::Library),
            (WeightView::Eight(_), Role::Sample) => Ok(Way::Own),
            (WeightView::Eight(matrix), Role::Prompt) => {
                choose(widen(self.kernels, matrix, self.widened)?).map(Way::Widened)
            }
        }
    }
}

// === impl CardModel ===

impl CardModel {
    /// Multiplies `rows` rows, of which the first `samples` are generated by samples.
    pub(super) fn multiply(
        &self,
        product: &Product,
        weight: &Weight,
        x: View<'_, Bf16>,
        [samples, rows]: [usize; 2],
        out: Output<'_>,
    ) -> Result<(), CudaError> {
        self.multiply_rows(&product.samples, weight, x, samples, out)?;
        let Some(prompts) = product.prompts.as_ref().filter(|_| rows > samples) else {
            return Ok(());
        };
        let [inputs, outputs] = weight.sizes();
        let x = x.slice(samples * inputs..x.len());
        self.multiply_rows(prompts, weight, x, rows - samples, out.after(samples * outputs))
    }

    fn multiply_rows(
        &self,
        way: &Way,
        weight: &Weight,
        x: View<'_, Bf16>,
        rows: usize,
        out: Output<'_>,
    ) -> Result<(), CudaError> {
        match (weight.view(), way) {
            (WeightView::Rounded(matrix), Way::Library(algorithms)) => {
                self.products.multiply(algorithms, matrix, x, rows, out)
            }
            (WeightView::Eight(matrix), Way::Widened(algorithms)) => {
                let matrix = widen(&self.kernels, matrix, &self.algorithms.widened)?;
                self.products.multiply(algorithms, matrix, x, rows, out)
            }
            (WeightView::Eight(matrix), _) => self.kernels.multiply_eight(matrix, x, rows, out),
            (WeightView::Rounded(_), _) => Err(not_chosen()),
        }
    }
}

/// The algorithm chosen for a kind of product that the model has.
pub(super) fn chosen<T>(product: &Option<T>) -> Result<&T, CudaError> {
    product.as_ref().ok_or_else(not_chosen)
}

fn not_chosen() -> CudaError {
    CudaError::Unsupported("no algorithm was chosen for a product".to_owned())
}

/// Converts an 8-bit matrix to bfloat16; valid until the next conversion.
fn widen<'a>(
    kernels: &Kernels,
    matrix: EightMatrix<'_>,
    to: &'a Buffer<Bf16>,
) -> Result<Matrix<'a>, CudaError> {
    let EightMatrix { outputs, inputs, .. } = matrix;
    kernels.widen_eight(matrix, to.view())?;
    Ok(Matrix { weights: to.view(), outputs, inputs })
}
