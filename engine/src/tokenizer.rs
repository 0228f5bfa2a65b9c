//! A model's tokenizer and chat template without its weights.

use std::path::Path;

use crate::error::{LoadError, PromptError};
use crate::files::ModelFiles;
use crate::prompt::Prompt;
use crate::tokens::Tokens;

/// Turns prompts into the tokens that [`crate::Engine::encode`] of the same model would give.
#[derive(Debug)]
pub struct Tokenizer {
    tokens: Tokens,
}

// === impl Tokenizer ===

impl Tokenizer {
    /// Reads the tokenizer of a model, a GGUF file or a folder.
    ///
    /// # Errors
    /// Files that are missing, foreign or corrupt, or a tokenizer that the engine does not know.
    pub fn load(path: &Path) -> Result<Tokenizer, LoadError> {
        let tokens = Tokens::of_files(&ModelFiles::open(path)?)?;
        Ok(Tokenizer { tokens })
    }

    /// As [`crate::Engine::encode`].
    ///
    /// # Errors
    /// An empty prompt, or a conversation that the template refuses.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        self.tokens.encode_prompt(prompt)
    }
}
