//! Split files, and files that are not models.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::error::LoadError;

/// A part with these numbers as metadata, and one tensor of four floats for each name.
fn write_part(path: &Path, metadata: &[(&str, u64)], tensors: &[&str]) {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, number) in metadata {
        put_text(&mut bytes, key);
        bytes.extend(10u32.to_le_bytes());
        bytes.extend(number.to_le_bytes());
    }
    for (index, name) in tensors.iter().enumerate() {
        put_text(&mut bytes, name);
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(4u64.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend((index as u64 * 32).to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    for name in tensors {
        bytes.extend([name.as_bytes()[0]; 32]);
    }
    fs::write(path, bytes).unwrap();
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// Three parts with a tensor each; the first is returned.
fn split() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    for (number, tensor) in (0..3u64).zip(["a", "b", "c"]) {
        let metadata = [("split.no", number), ("split.count", 3), ("split.tensors.count", 3)];
        write_part(&part(&folder, number + 1), &metadata, &[tensor]);
    }
    let first = part(&folder, 1);
    (folder, first)
}

fn part(folder: &TempDir, number: u64) -> PathBuf {
    folder.path().join(format!("model-{number:05}-of-00003.gguf"))
}

fn refusal(path: &Path) -> String {
    GgufFile::open(path).expect_err("refused").to_string()
}

#[test]
fn the_first_part_of_a_split_file_brings_the_others() {
    let (folder, first) = split();
    let file = GgufFile::open(&first).unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(file.read(&file.tensors[name]).unwrap(), [name.as_bytes()[0]; 16]);
    }
    assert_eq!(file.paths(), [1, 2, 3].map(|number| part(&folder, number)));
    let sizes = file.paths().iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
    assert_eq!(file.file_bytes(), sizes);
}

#[test]
fn a_missing_part_is_named() {
    let (folder, first) = split();
    fs::remove_file(part(&folder, 2)).unwrap();
    let error = GgufFile::open(&first).expect_err("a part is missing");
    let LoadError::MissingParts { count: 3, missing, .. } = &error else { panic!("{error}") };
    assert_eq!(*missing, [part(&folder, 2)]);
    assert!(error.to_string().contains("model-00002-of-00003.gguf is missing"), "{error}");
}

#[test]
fn a_later_part_says_which_is_the_first() {
    let (folder, first) = split();
    let why = refusal(&part(&folder, 3));
    let named = format!("it is part 3 of 3: give the first part, {}", first.display());
    assert!(why.ends_with(&named), "{why}");
}

#[test]
fn a_part_under_another_name_says_what_it_ought_to_be_called() {
    let (folder, first) = split();
    let other = folder.path().join("model.gguf");
    fs::rename(&first, &other).unwrap();
    assert!(refusal(&other).contains("NAME-00001-of-00003.gguf"));
    fs::rename(&other, part(&folder, 2)).unwrap();
    assert!(refusal(&part(&folder, 2)).contains("it says that it is part 1 of 3"));
}

#[test]
fn parts_of_another_model_are_not_taken() {
    let (folder, first) = split();
    let metadata = [("split.no", 2), ("split.count", 3)];
    write_part(&part(&folder, 2), &metadata, &["b"]);
    assert!(refusal(&first).contains("by its name it is part 2 of 3, by its metadata part 3 of 3"));
    write_part(&part(&folder, 2), &[("split.no", 1), ("split.count", 3)], &["a"]);
    assert!(refusal(&first).contains("tensor \"a\" is in another part, too"));
    write_part(&part(&folder, 2), &[("split.no", 1), ("split.count", 3)], &["b", "d"]);
    assert!(refusal(&first).contains("its 3 parts have 4 tensors instead of 3"));
}

#[test]
fn a_big_endian_file_is_called_that() {
    let (_folder, first) = split();
    let mut bytes = fs::read(&first).unwrap();
    bytes[4..8].copy_from_slice(&3u32.to_be_bytes());
    fs::write(&first, &bytes).unwrap();
    assert!(refusal(&first).contains("it is big-endian"));
    bytes[4..8].copy_from_slice(&9u32.to_le_bytes());
    fs::write(&first, &bytes).unwrap();
    assert!(refusal(&first).contains("version 9"));
}

#[test]
fn tensors_that_share_their_bytes_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    write_part(&path, &[], &["a", "b"]);
    assert!(GgufFile::open(&path).is_ok());
    let mut bytes = fs::read(&path).unwrap();
    // Sixteen floats instead of four: this covers the whole file, including b's data. Before it: the header, the name,
    // the rank.
    let size = 24 + (8 + 1) + 4;
    bytes[size..size + 8].copy_from_slice(&16u64.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert!(refusal(&path).contains("overlap"));
}
