//! Tiny models with meaningless scores, and a context that is long enough for a judge's prompt.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

use std::fs;
use std::path::Path;

/// Copies a fixture of the engine into `folder`, and returns its path.
pub fn model(folder: &Path, fixture: &str) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/tests/fixtures").join(fixture);
    let to = folder.join(fixture);
    fs::create_dir_all(&to).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    drop(fs::copy(from.join("chat_template.jinja"), to.join("chat_template.jinja")));
    let config = fs::read_to_string(from.join("config.json")).unwrap();
    let context = r#""max_position_embeddings": "#;
    let config = config.replace(&format!("{context}128"), &format!("{context}8192"));
    fs::write(to.join("config.json"), config).unwrap();
    to.to_str().unwrap().to_owned()
}
