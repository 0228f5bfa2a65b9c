//! A model's tokenizer and chat template without its weights.

use std::path::Path;
use std::sync::Arc;

use crate::error::{LoadError, PromptError};
use crate::files::ModelFiles;
use crate::prompt::Prompt;
use crate::tokens::{Tokens, Turn};

/// Turns prompts into the same tokens as [`crate::Engine::encode`] of that model. Clones share the vocabulary.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokens: Arc<Tokens>,
}

// === impl Tokenizer ===

impl Tokenizer {
    /// Reads the tokenizer of a model, a GGUF file or a folder.
    ///
    /// # Errors
    /// Files are missing, not a model, or corrupt, or the engine does not support the tokenizer.
    pub fn load(path: &Path) -> Result<Tokenizer, LoadError> {
        let tokens = Tokens::of_files(&ModelFiles::open(path)?)?;
        Ok(Tokenizer::sharing(Arc::new(tokens)))
    }

    /// The tokenizer of a loaded model.
    pub(crate) fn sharing(tokens: Arc<Tokens>) -> Tokenizer {
        Tokenizer { tokens }
    }

    /// As [`crate::Engine::encode`].
    ///
    /// # Errors
    /// The prompt is empty, or the template rejects the conversation.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(prompt, Turn::ModelSpeaks)
    }

    /// The text that the chat template appends after the last message to begin the model's answer; for some reasoning
    /// models this includes the start of a thought.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn answer_opening(&self, prompt: &Prompt) -> Result<String, PromptError> {
        self.tokens.answer_opening(prompt)
    }

    /// A conversation as is, without the start of another answer: the input of a reward model.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_conversation(&self, conversation: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(conversation, Turn::Over)
    }

    /// Tokens of untrusted text that follows other text; no special tokens are recognised.
    ///
    /// # Errors
    /// The tokenizer cannot split the text.
    pub fn encode_plain(&self, untrusted_text: &str) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_plain(untrusted_text)
    }

    /// Number of tokens of a piece of untrusted text on its own.
    pub fn count(&self, untrusted_text: &str) -> usize {
        self.tokens.encode_plain(untrusted_text).map_or(0, |tokens| tokens.len())
    }
}
