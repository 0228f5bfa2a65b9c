//! Guided read-out: the engine reads choices from the model's probabilities instead of sampling free text.
//!
//! A choice may have several tokens, and one choice may be the beginning of another ("1" and "10"). The choices' tokens
//! form a trie, and the model is asked once for every inner node (the branch's tokens are fed and then taken back). A
//! choice's probability is the product of its tokens', times that of the terminator if another choice continues it. The
//! terminator is the set of all tokens that begin with the first character of the text after a choice.

use std::sync::Arc;

use crate::error::PromptError;
use crate::event::ReadoutOutput;
use crate::request::{Readout, ReadoutMode, Sampling};
use crate::sampling::{draw_choice, most_likely_choice, slot_uniform};
use crate::tokens::Tokens;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::rows::{exp_scaled, greatest};

/// What a read-out asks of the logits at one of its nodes: the total probability of each of several sets of tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// One for each choice that the node leads to, in the order of the choices: its next token, or the terminator if it
    /// ends here.
    pub(crate) sets: Vec<Arc<Vec<u32>>>,
}

/// Tokens reserved for the opening text beyond the length of the opening for an empty free text.
const OPENING_SLACK: usize = 32;

/// A read-out as tokens; shared by all samples with an equal read-out.
#[derive(Debug)]
pub(crate) struct TokenisedReadout {
    /// The read-out as text.
    asked: Readout,
    choices: Vec<Vec<u32>>,
    /// Inner nodes of the trie, the root first.
    nodes: Vec<Vec<u32>>,
    separator: Vec<u32>,
    closing: Vec<u32>,
    /// For every node, the questions for a slot before the last and for the last.
    questions: Vec<[Arc<Question>; 2]>,
    /// Most tokens that the opening may have.
    pub(crate) opening_room: usize,
}

/// A read-out in progress.
#[derive(Debug)]
pub(crate) struct Run {
    /// Index into `TokenisedReadout::nodes` of the node whose logits come next.
    node: usize,
    /// Unnormalised probability of each choice of the current slot.
    weights: Vec<f64>,
    text: String,
    /// Tokens of the choices taken.
    tokens: usize,
    output: ReadoutOutput,
}

/// What to do after a node's logits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Take back everything fed since the slot began, then feed these tokens.
    Feed {
        /// Whether a new slot begins after them; otherwise they are a branch to be taken back.
        new_slot: bool,
        tokens: Vec<u32>,
    },
    /// All slots are read.
    Done {
        /// The last choice and the closing text, which follow everything fed before the slot.
        tokens: Vec<u32>,
    },
    /// The greatest logit is not finite.
    NotANumber,
}

// === impl TokenisedReadout ===

impl TokenisedReadout {
    /// `starting_with` returns all tokens that begin with a byte.
    pub(crate) fn new(
        readout: Readout,
        tokens: &Tokens,
        mut starting_with: impl FnMut(u8) -> Arc<Vec<u32>>,
    ) -> Result<TokenisedReadout, PromptError> {
        let separator = tokens.encode_plain(&readout.separator)?;
        let mut choices = Vec::new();
        for choice in &readout.choices {
            // Tokenised as after other text. The first slot follows the opening instead, which may end differently.
            let joined = tokens.encode_plain(&format!("{}{choice}", readout.separator))?;
            choices.push(match joined.strip_prefix(separator.as_slice()) {
                Some(rest) if !rest.is_empty() => rest.to_vec(),
                _ => tokens.encode_plain(choice)?,
            });
        }
        let mut nodes = vec![Vec::new()];
        for choice in &choices {
            for depth in 1..choice.len() {
                if !nodes.iter().any(|node| node == &choice[..depth]) {
                    nodes.push(choice[..depth].to_vec());
                }
            }
        }
        let mut after =
            |text: &str| text.bytes().next().map(&mut starting_with).unwrap_or_default();
        let after = [after(&readout.separator), after(&readout.closing)];
        let question = |node: &Vec<u32>, after: &Arc<Vec<u32>>| {
            let leads = choices.iter().filter(|choice| choice.starts_with(node));
            let next = |choice: &Vec<u32>| match choice.get(node.len()) {
                None => after.clone(),
                Some(&token) => Arc::new(vec![token]),
            };
            Arc::new(Question { sets: leads.map(next).collect() })
        };
        let questions = nodes
            .iter()
            .map(|node| [question(node, &after[0]), question(node, &after[1])])
            .collect();
        let closing = tokens.encode_plain(&readout.closing)?;
        let opening_room = tokens.encode_plain(&(readout.opening)(""))?.len() + OPENING_SLACK;
        Ok(TokenisedReadout {
            asked: readout,
            choices,
            nodes,
            separator,
            closing,
            questions,
            opening_room,
        })
    }

    /// Tokens that a read-out may add to the context.
    pub(crate) fn room(&self) -> usize {
        let longest = self.choices.iter().map(Vec::len).max().unwrap_or(0);
        let between = self.separator.len().max(self.closing.len());
        self.opening_room + self.asked.slots * (longest + between)
    }

    /// Starts a read-out; returns the tokens of the opening.
    pub(crate) fn start(
        &self,
        free_text: &str,
        forced: bool,
        tokens: &Tokens,
    ) -> Result<(Run, Vec<u32>), PromptError> {
        let text = (self.asked.opening)(free_text);
        let opening = tokens.encode_plain(&text)?;
        let output =
            ReadoutOutput { choices: Vec::new(), distributions: Vec::new(), mass: 1.0, forced };
        let weights = vec![1.0; self.choices.len()];
        Ok((Run { node: 0, weights, text, tokens: 0, output }, opening))
    }
}

// === impl Question ===

impl Question {
    /// Sums of the sets' probabilities in these logits, at temperature 1. `None` if the greatest logit is not
    /// finite.
    pub(crate) fn masses(
        &self,
        level: SimdLevel,
        logits: &[f32],
        scratch: &mut Vec<f32>,
    ) -> Option<Vec<f64>> {
        let (mut top, mut total) = (0.0, 0.0);
        greatest(level, logits, &mut top);
        if !top.is_finite() {
            return None;
        }
        scratch.resize(logits.len(), 0.0);
        exp_scaled(level, logits, top, 1.0, scratch, &mut total);
        let probability = |token: u32| f64::from(scratch[token as usize]) / f64::from(total);
        let mass = |set: &Arc<Vec<u32>>| set.iter().map(|&token| probability(token)).sum();
        Some(self.sets.iter().map(mass).collect())
    }
}

// === impl Run ===

impl Run {
    /// The question for the next logits.
    pub(crate) fn question<'a>(&self, readout: &'a TokenisedReadout) -> &'a Arc<Question> {
        &readout.questions[self.node][usize::from(self.is_last_slot(readout))]
    }

    /// Takes the masses of [`Run::question`]; `None` stands for logits that are not finite.
    pub(crate) fn advance(
        &mut self,
        readout: &TokenisedReadout,
        masses: Option<&[f64]>,
        sampling: Sampling,
    ) -> Next {
        let Some(masses) = masses else { return Next::NotANumber };
        let last_slot = self.is_last_slot(readout);
        let node = readout.nodes[self.node].as_slice();
        let leads = readout.choices.iter().zip(&mut self.weights);
        let leads = leads.filter(|(choice, _)| choice.starts_with(node));
        for ((_, weight), mass) in leads.zip(masses) {
            *weight *= mass;
        }
        self.node += 1;
        if let Some(next) = readout.nodes.get(self.node) {
            return Next::Feed { new_slot: false, tokens: next.clone() };
        }
        self.end_slot(readout, sampling, last_slot)
    }

    fn is_last_slot(&self, readout: &TokenisedReadout) -> bool {
        self.output.choices.len() + 1 == readout.asked.slots
    }

    /// Returns the text of the opening and the choices, the number of tokens of the choices, and the result.
    pub(crate) fn finish(self) -> (String, usize, ReadoutOutput) {
        (self.text, self.tokens, self.output)
    }

    fn end_slot(
        &mut self,
        readout: &TokenisedReadout,
        sampling: Sampling,
        last_slot: bool,
    ) -> Next {
        let mass: f64 = self.weights.iter().sum();
        if mass.is_nan() || mass <= 0.0 {
            return Next::NotANumber;
        }
        let distribution: Vec<f64> = self.weights.iter().map(|weight| weight / mass).collect();
        let slot = self.output.choices.len();
        let choice = match readout.asked.mode {
            ReadoutMode::Expected => most_likely_choice(&distribution),
            ReadoutMode::Sampled => {
                draw_choice(&distribution, sampling, slot_uniform(sampling.seed, slot))
            }
        };
        self.output.choices.push(choice);
        self.output.distributions.push(distribution);
        self.output.mass = self.output.mass.min(mass);
        self.text.push_str(&readout.asked.choices[choice]);
        self.tokens += readout.choices[choice].len();
        let mut tokens = readout.choices[choice].clone();
        if last_slot {
            self.text.push_str(&readout.asked.closing);
            tokens.extend_from_slice(&readout.closing);
            return Next::Done { tokens };
        }
        self.text.push_str(&readout.asked.separator);
        tokens.extend_from_slice(&readout.separator);
        self.node = 0;
        self.weights.fill(1.0);
        Next::Feed { new_slot: true, tokens }
    }
}
