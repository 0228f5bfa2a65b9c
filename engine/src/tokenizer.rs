//! A model's tokenizer and chat template without its weights.

use std::path::Path;
use std::sync::Arc;

use crate::error::{LoadError, PromptError};
use crate::files::ModelFiles;
use crate::prompt::Prompt;
use crate::tokens::{Tokens, Turn};

/// Turns prompts into the tokens that [`crate::Engine::encode`] of the same model would give.
/// Clones share the vocabulary.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokens: Arc<Tokens>,
}

// === impl Tokenizer ===

impl Tokenizer {
    /// Reads the tokenizer of a model, a GGUF file or a folder.
    ///
    /// # Errors
    /// Files that are missing, foreign or corrupt, or a tokenizer that the engine does not know.
    pub fn load(path: &Path) -> Result<Tokenizer, LoadError> {
        let tokens = Tokens::of_files(&ModelFiles::open(path)?)?;
        Ok(Tokenizer::sharing(Arc::new(tokens)))
    }

    /// The tokenizer of a model that is loaded already.
    pub(crate) fn sharing(tokens: Arc<Tokens>) -> Tokenizer {
        Tokenizer { tokens }
    }

    /// As [`crate::Engine::encode`].
    ///
    /// # Errors
    /// An empty prompt, or a conversation that the template refuses.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(prompt, Turn::ModelSpeaks)
    }

    /// What the chat template writes after the last message, to begin the model's answer: of some reasoning models also the
    /// beginning of a thought.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn answer_opening(&self, prompt: &Prompt) -> Result<String, PromptError> {
        self.tokens.answer_opening(prompt)
    }

    /// A conversation as it stands, without the start of a further answer: what a reward model reads.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_conversation(&self, conversation: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(conversation, Turn::Over)
    }

    /// Tokens of untrusted text that follows other text: no character of it is special.
    ///
    /// # Errors
    /// Text that the tokenizer cannot cut.
    pub fn encode_plain(&self, untrusted_text: &str) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_plain(untrusted_text)
    }

    /// Number of tokens of a piece of untrusted text, alone.
    pub fn count(&self, untrusted_text: &str) -> usize {
        self.tokens.encode_plain(untrusted_text).map_or(0, |tokens| tokens.len())
    }
}
