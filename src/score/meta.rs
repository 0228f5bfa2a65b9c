//! `--meta`: the Meta RM, and what this process serves for it.

use std::path::{Path, PathBuf};

use jury_engine::head::Head;
use jury_worker::models::ModelRef;

use crate::args::{Refused, ScoreArgs};

/// The Meta RM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Its name in requests.
    pub name: Option<String>,
    /// What this process serves.
    pub served: Option<ServedMeta>,
}

/// A Meta RM in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedMeta {
    /// A head on the judging model: its file.
    Head(PathBuf),
    /// A separate model, as `--model` takes it, and the head that was trained on it unless the model has its own score.
    Model { model: String, head: Option<PathBuf> },
}

/// Parses what follows `model:`: a model, or `MODEL,head:FILE`.
pub fn meta_model(text: &str) -> (&str, Option<PathBuf>) {
    match text.split_once(",head:") {
        Some((model, head)) => (model, Some(PathBuf::from(head))),
        None => (text, None),
    }
}

// === impl Meta ===

impl Meta {
    /// Reads a head's name from its file, since requests use names only.
    pub fn of(args: &ScoreArgs) -> Result<Self, Refused> {
        let asked = args.meta.as_deref().filter(|asked| *asked != "none");
        let Some(asked) = asked else { return Ok(Self::default()) };
        let refused = |problem: String| Refused::new("--meta", problem);
        let is_embedded = args.judge.endpoint.is_none();
        if let Some(model) = asked.strip_prefix("model:") {
            if !is_embedded {
                return Err(refused(
                    "with --endpoint, a Meta RM needs its own worker: start one with `jury worker --role meta`, and give its model's \
                     name here"
                        .to_owned(),
                ));
            }
            let (model, head) = meta_model(model);
            let name = ModelRef::parse(model).map_err(|error| refused(error.to_string()))?.name();
            let served = Some(ServedMeta::Model { model: model.to_owned(), head });
            return Ok(Self { name: Some(name), served });
        }
        match asked.strip_prefix("head:").map(Path::new) {
            None if is_embedded => Err(refused(format!(
                "without --endpoint, must be head:FILE or model:MODEL, is {asked:?}"
            ))),
            None => Ok(Self { name: Some(asked.to_owned()), served: None }),
            Some(_) if !is_embedded => Err(refused(
                "with --endpoint, the workers have their own heads: start one with `jury worker --head FILE`, and give the \
                 head's name here"
                    .to_owned(),
            )),
            Some(file) => {
                let (head, _) =
                    Head::load(file).map_err(|error| Refused::file("--meta", error))?;
                let name = Some(head.card().name.clone());
                Ok(Self { name, served: Some(ServedMeta::Head(file.to_owned())) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jury_worker::backend::scripted::example_head;

    use super::*;
    use crate::args::{Args, Command};

    fn meta(words: &str) -> Result<Meta, String> {
        let words = ["jury", "score", "a.json"].into_iter().chain(words.split_whitespace());
        let args = Args::try_parse_from(words).unwrap();
        let Command::Score(args) = args.command else { panic!("not score") };
        Meta::of(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_asked_for_by_the_name_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("any.safetensors");
        std::fs::write(&file, example_head("meta-1").to_bytes()).unwrap();
        let found = meta(&format!("--meta head:{}", file.display())).unwrap();
        let served = Some(ServedMeta::Head(file));
        assert_eq!(found, Meta { name: Some("meta-1".to_owned()), served });
        for none in ["", "--meta none"] {
            assert_eq!(meta(none), Ok(Meta::default()));
        }
        let named = meta("--meta m --endpoint http://h:1").unwrap();
        assert_eq!(named, Meta { name: Some("m".to_owned()), served: None });
        let model = meta("--meta model:./some/MetaRM.gguf").unwrap();
        let named = |head| ServedMeta::Model { model: "./some/MetaRM.gguf".to_owned(), head };
        assert_eq!(model, Meta { name: Some("MetaRM".to_owned()), served: Some(named(None)) });
        let headed = meta("--meta model:./some/MetaRM.gguf,head:h.safetensors").unwrap();
        assert_eq!(headed.served, Some(named(Some(PathBuf::from("h.safetensors")))));
        assert_eq!(headed.name, model.name);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_way_out() {
        for (words, way_out) in [
            ("--meta m", "head:FILE"),
            ("--meta head:none.safetensors", "cannot read none.safetensors: "),
            ("--meta head:Cargo.toml", "not a head"),
            ("--meta head:f --endpoint http://h:1", "jury worker --head"),
            ("--meta model:f --endpoint http://h:1", "jury worker --role meta"),
            ("--meta model:gpt-9", "smollm2-135m"),
        ] {
            let error = meta(words).unwrap_err();
            assert!(error.starts_with("--meta: ") && error.contains(way_out), "{error}");
        }
    }
}
