//! `jury models`.

use std::collections::BTreeSet;
use std::path::Path;

use jury_engine::Adapter;
use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{adapter_at, load_failed, model_failed, store};
use jury_terminal::page::{columns, note};
use jury_worker::models::{ListedModel, ModelError, ModelRef, ResolvedModel};
use serde_json::json;

use crate::args::{CacheArgs, ModelsArgs, ModelsCommand};
use crate::score::print;

pub fn run(args: ModelsArgs) -> Result<Exit, Failed> {
    let text = match args.command {
        ModelsCommand::List { json } => list(&store(args.cache.folder()).list(), json)?,
        ModelsCommand::Fetch { model, json } => fetch(&args.cache, &model, json)?,
        ModelsCommand::Inspect { model, json } => match adapter_at(Path::new(&model)) {
            adapter if Adapter::is_at(&adapter) => inspect_adapter(&adapter, json)?,
            _ => inspect(&resolve(&args.cache, &model)?, json)?,
        },
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// Downloads a model if it is missing. A local file has no expected digest, so only its path is printed.
fn fetch(cache: &CacheArgs, model: &str, json: bool) -> Result<String, Failed> {
    if let ModelRef::Path(path) = ModelRef::parse(model).map_err(model_failed)? {
        if !path.exists() {
            return Err(model_failed(ModelError::NoSuchFile { path }));
        }
        note(format_args!(
            "jury: {model} is a local file or folder: nothing to fetch, and no SHA-256 to verify it against"
        ));
        // Its digest takes long to compute, and is not printed in this case.
        if !json {
            return Ok(format!("{}\n", path.display()));
        }
    }
    let resolved = resolve(cache, model)?;
    match json {
        true => json_line(&as_json(&resolved)).or_exit(Exit::Internal),
        false => Ok(format!("{}\n", resolved.path.display())),
    }
}

fn resolve(cache: &CacheArgs, model: &str) -> Result<ResolvedModel, Failed> {
    let reference = ModelRef::parse(model).map_err(model_failed)?;
    let meter = Meter::new(false);
    let resolved = store(cache.folder()).resolve(&reference, &meter);
    meter.clear();
    resolved.map_err(model_failed)
}

fn list(models: &[ListedModel], json: bool) -> Result<String, Failed> {
    if json {
        let models: Vec<_> = models
            .iter()
            .map(|model| {
                let entry = model.entry;
                json!({
                    "name": entry.name, "description": entry.description,
                    "licence": entry.licence, "bytes": entry.bytes, "sha256": entry.sha256,
                    "hub": format!("{}/{}", entry.hub_repo, entry.hub_file),
                    "path": model.path, "cached": model.is_cached,
                })
            })
            .collect();
        return json_line(&models).or_exit(Exit::Internal);
    }
    let mut rows = vec![["MODEL", "SIZE", "CACHED", "LICENCE", "ABOUT"].map(String::from)];
    rows.extend(models.iter().map(|model| {
        let entry = model.entry;
        let here = if model.is_cached { "yes" } else { "no" };
        [
            entry.name.to_owned(),
            megabytes(entry.bytes),
            here.to_owned(),
            entry.licence.to_owned(),
            entry.description.to_owned(),
        ]
    }));
    Ok(columns(&rows))
}

fn inspect(model: &ResolvedModel, json: bool) -> Result<String, Failed> {
    let info = jury_engine::inspect(&model.path).map_err(load_failed)?;
    if json {
        let mut object = as_json(model);
        object["info"] = serde_json::to_value(&info).or_exit(Exit::Internal)?;
        return json_line(&object).or_exit(Exit::Internal);
    }
    let pre_tokenizer = match (info.pre_tokenizer.as_str(), info.pre_tokenizer_is_assumed) {
        ("", _) => "none".to_owned(),
        (name, false) => name.to_owned(),
        (name, true) => format!(
            "{name}: a guess, since the file does not name one (tokenizer.ggml.pre); tokens may differ from those that the \
             model was trained on"
        ),
    };
    let template = if info.has_chat_template { "in the file" } else { "none; ChatML is used" };
    let rows = [
        ["name", &model.name],
        ["original name", &info.name],
        ["file", &format!("{} ({})", model.path.display(), megabytes(info.file_bytes))],
        ["sha256", &model.digest],
        ["family", &format!("{}, {} weights", info.architecture, info.file_type)],
        ["size", &format!("{:.0} million weights", info.parameters as f64 / 1e6)],
        [
            "context",
            &format!(
                "{} tokens, {} bytes of keys and values per token",
                info.context_length, info.kv_bytes_per_token
            ),
        ],
        [
            "shape",
            &format!(
                "{} layers of width {}, {} heads, {} key-value heads, vocabulary of {}",
                info.layers, info.embedding_length, info.heads, info.kv_heads, info.vocabulary
            ),
        ],
        ["pre-tokenizer", &pre_tokenizer],
        ["chat template", template],
    ];
    Ok(columns(&rows.map(|row| row.map(str::to_owned))))
}

fn inspect_adapter(path: &Path, json: bool) -> Result<String, Failed> {
    let adapter = Adapter::read(path).map_err(load_failed)?;
    let kinds: BTreeSet<&str> =
        adapter.parts().filter_map(|(name, _)| name.rsplit('.').next()).collect();
    let scales: BTreeSet<String> =
        adapter.parts().map(|(_, part)| part.scale.to_string()).collect();
    let count = adapter.parts().count();
    if json {
        return json_line(&json!({
            "kind": "adapter", "path": path, "digest": adapter.digest(), "base": adapter.base(),
            "family": adapter.architecture(), "rank": adapter.rank(), "parts": count,
            "projections": kinds, "parameters": adapter.parameters(),
        }))
        .or_exit(Exit::Internal);
    }
    let listed = |names: Vec<&str>| names.join(", ");
    let rows = [
        ["kind", "low-rank adapter (LoRA); serve it with --adapter"],
        ["path", &path.display().to_string()],
        ["digest", adapter.digest()],
        ["made for", adapter.base().unwrap_or("not stated")],
        ["family", adapter.architecture().unwrap_or("any with matching sizes")],
        [
            "rank",
            &format!(
                "{}, scale {}",
                adapter.rank(),
                listed(scales.iter().map(String::as_str).collect())
            ),
        ],
        ["adapts", &format!("{count} projections: {}", listed(kinds.into_iter().collect()))],
        ["size", &format!("{:.2} million weights", adapter.parameters() as f64 / 1e6)],
    ];
    Ok(columns(&rows.map(|row| row.map(str::to_owned))))
}

fn as_json(model: &ResolvedModel) -> serde_json::Value {
    json!({"name": model.name, "path": model.path, "sha256": model.digest})
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ones_own_needs_no_fetching_and_one_that_is_missing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("judge.gguf");
        let name = file.to_str().unwrap();
        let missing = fetch(&CacheArgs::default(), name, false).unwrap_err();
        assert_eq!(missing.exit, Exit::NoInput, "{}", missing.message());
        std::fs::write(&file, "").unwrap();
        for own in [name, folder.path().to_str().unwrap()] {
            let fetched = fetch(&CacheArgs::default(), own, false);
            assert_eq!(fetched.map_err(|failed| failed.message()), Ok(format!("{own}\n")));
        }
    }
}
