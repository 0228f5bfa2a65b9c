//! Truncated files, as after an interrupted download: the error says so, and how much is missing.

use std::fs;

use safetensors::tensor::Dtype;

use super::written::{Folder, qwen3};
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::gguf::GgufFile;

const WEIGHTS: &str = "model.safetensors";

/// The number of bytes that the error says are needed.
fn needed(error: &LoadError, length: usize) -> usize {
    let LoadError::Truncated { needed_bytes, file_bytes, .. } = *error else {
        panic!("{length}: {error}");
    };
    assert_eq!(file_bytes, length as u64, "{error}");
    needed_bytes as usize
}

/// A GGUF file, and where its tensors start: every tensor fills its place there, without a gap.
fn gguf() -> (Vec<u8>, usize) {
    let model = qwen3();
    let whole = model.gguf_bytes();
    let data_bytes: usize = model.tensors.iter().map(|tensor| tensor.values.len() * 4).sum();
    let data_start = whole.len() - data_bytes;
    (whole, data_start)
}

fn refused(folder: &Folder) -> LoadError {
    ModelFiles::open(folder.path()).expect_err("a damaged folder")
}

#[test]
fn a_truncated_gguf_file_needs_more_than_it_has_wherever_its_header_ends() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (whole, data_start) = gguf();
    let first_bytes = 24; // Fewer are no GGUF file at all.
    for length in first_bytes..data_start {
        fs::write(file.path(), &whole[..length]).unwrap();
        let needed = needed(&GgufFile::open(file.path()).expect_err("truncated"), length);
        assert!((length + 1..=whole.len()).contains(&needed), "{needed} for {length}");
    }
}

#[test]
fn a_gguf_file_truncated_after_its_header_names_the_furthest_end_of_all_tensors() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (whole, data_start) = gguf();
    for length in [data_start, (data_start + whole.len()) / 2, whole.len() - 1] {
        fs::write(file.path(), &whole[..length]).unwrap();
        let error = GgufFile::open(file.path()).expect_err("truncated");
        assert_eq!(needed(&error, length), whole.len());
        let message = error.to_string();
        for part in
            ["truncated", &whole.len().to_string(), &length.to_string(), "download it again"]
        {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn a_truncated_safetensors_file_needs_more_than_it_has_wherever_it_ends() {
    let folder = qwen3().folder(Dtype::F32);
    let whole = fs::read(folder.file(WEIGHTS)).unwrap();
    let header = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize + 8;
    let cuts = [(0, 8), (1, 8), (7, 8), (8, header), (9, header), (header - 1, header)];
    let data = [header, header + 1, (header + whole.len()) / 2, whole.len() - 1];
    for (length, expected) in cuts.into_iter().chain(data.map(|length| (length, whole.len()))) {
        fs::write(folder.file(WEIGHTS), &whole[..length]).unwrap();
        let error = refused(&folder);
        assert_eq!(needed(&error, length), expected, "{error}");
        assert!(error.to_string().contains(WEIGHTS), "{error}");
    }
}

#[test]
fn a_safetensors_file_that_goes_on_after_its_last_tensor_is_corrupt() {
    let folder = qwen3().folder(Dtype::F32);
    let whole = fs::read(folder.file(WEIGHTS)).unwrap();
    fs::write(folder.file(WEIGHTS), [whole.as_slice(), b"x"].concat()).unwrap();
    let error = refused(&folder);
    assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    for end in [whole.len(), whole.len() + 1] {
        assert!(error.to_string().contains(&end.to_string()), "{error}");
    }
}

#[test]
fn a_missing_shard_is_named_with_the_index_that_asks_for_it() {
    for shard in ["model-1-of-2.safetensors", "model-2-of-2.safetensors"] {
        let folder = qwen3().sharded();
        fs::remove_file(folder.file(shard)).unwrap();
        let error = refused(&folder);
        let LoadError::Io { path, source } = error else { panic!("{error}") };
        assert!(path.ends_with(shard), "{}", path.display());
        for part in ["model.safetensors.index.json", "missing", "download it again"] {
            assert!(source.to_string().contains(part), "{source}");
        }
    }
}

#[test]
fn a_truncated_shard_is_named() {
    let folder = qwen3().sharded();
    let shard = folder.file("model-2-of-2.safetensors");
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    let error = refused(&folder);
    assert_eq!(needed(&error, whole.len() - 1), whole.len());
    assert!(error.to_string().contains("model-2-of-2.safetensors"), "{error}");
}
