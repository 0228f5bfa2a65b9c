//! The parts of a [`Shape`](super::Shape) that only some families have.

use super::LARGEST;

/// The activation of a feed-forward network's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU, with the tanh approximation of its error function.
    GeluTanh,
}

/// Layers that see only the newest tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// Tokens that such a layer sees: the token itself and the `tokens - 1` before it.
    pub(crate) tokens: usize,
    /// For every layer, whether it has the window.
    pub(crate) layers: Vec<bool>,
}

/// Latent attention (MLA), with the matrices that expand keys and values absorbed into queries and outputs.
///
/// A token's key is its normalised latent vector followed by the rotated part, shared by all heads; its value is the
/// latent vector. The first part of a query head is multiplied by `key_up`, which makes it as long as the latent
/// vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latent {
    /// Elements of the latent vector.
    pub(crate) rank: usize,
    /// Rotated elements of a query head: its last ones.
    pub(crate) rope_size: usize,
    /// Unrotated elements of a query head: its first ones.
    pub(crate) nope_size: usize,
    /// Elements that `value_up` produces from a head's attended latent vector.
    pub(crate) value_size: usize,
    /// Elements between the queries' two matrices, if there are two.
    pub(crate) query_rank: Option<usize>,
}

/// Feed-forward networks, some of which a router chooses for each token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Experts {
    /// Experts of a layer.
    pub(crate) count: usize,
    /// Number chosen for a token: those with the highest probabilities (softmax over all of the router's outputs).
    pub(crate) used: usize,
    /// Size of one expert's inner layer.
    pub(crate) hidden: usize,
    /// Shared experts, which see every token and are stored as one network: its inner layer is `shared * hidden`.
    pub(crate) shared: usize,
    /// Leading layers with one dense network instead.
    pub(crate) dense_layers: usize,
    /// Factor of the chosen experts' probabilities.
    pub(crate) scale: f32,
    /// Whether the chosen experts' probabilities are first divided by their sum.
    pub(crate) normalise: bool,
    /// Restricts the choice to experts of some groups.
    pub(crate) groups: Option<ExpertGroups>,
}

/// Groups of neighbouring experts; a token's experts come from the groups with the highest single probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpertGroups {
    pub(crate) count: usize,
    pub(crate) used: usize,
}

// === impl Latent ===

impl Latent {
    /// Elements of a head's query before it is absorbed.
    pub(crate) fn query_size(&self) -> usize {
        self.nope_size + self.rope_size
    }
}

// === impl Window ===

impl Window {
    /// Every `period`-th layer sees all tokens, the others see the window.
    pub(crate) fn periodic(tokens: usize, period: usize, layers: usize) -> Window {
        let layers = (1..=layers).map(|layer| !layer.is_multiple_of(period)).collect();
        Window { tokens, layers }
    }

    pub(super) fn check(&self, layers: usize) -> Result<(), String> {
        if self.tokens == 0 || self.tokens > LARGEST {
            return Err(format!("a window of {} tokens", self.tokens));
        }
        if self.layers.len() != layers {
            return Err(format!("kinds of {} layers, but {layers} layers", self.layers.len()));
        }
        Ok(())
    }
}

// === impl Experts ===

impl Experts {
    pub(super) fn check(&self, layers: usize) -> Result<(), String> {
        let sizes = [("count", self.count), ("hidden size", self.hidden), ("choice", self.used)];
        for (what, size) in sizes {
            if size == 0 || size > LARGEST {
                return Err(format!("experts with a {what} of {size}"));
            }
        }
        if self.shared > LARGEST / self.hidden {
            return Err(format!("{} shared experts of {}", self.shared, self.hidden));
        }
        if self.used > self.count {
            return Err(format!("{} experts are chosen of {}", self.used, self.count));
        }
        if self.dense_layers > layers {
            return Err(format!("{} dense layers of {layers}", self.dense_layers));
        }
        if !self.scale.is_finite() || self.scale <= 0.0 {
            return Err(format!("experts are scaled by {}", self.scale));
        }
        let Some(ExpertGroups { count, used }) = self.groups else { return Ok(()) };
        let fits = (1..=count).contains(&used) && self.count.is_multiple_of(count);
        // The chosen groups must contain enough experts.
        if !fits || self.count / count * used < self.used {
            return Err(format!("{used} of {count} groups of {} experts", self.count));
        }
        Ok(())
    }
}
