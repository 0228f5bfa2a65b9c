//! Damaged and foreign files give typed errors, never a panic or a huge allocation.

use std::fs;
use std::io::Write;
use std::path::Path;

use jury_engine::{Engine, LoadError, inspect};

use crate::support::{config, model_path};

/// All metadata and the table of tensors of the test model lie before this.
const HEADER_BYTES: usize = 2 << 20;

fn with_file(bytes: &[u8], check: impl FnOnce(&Path)) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file.flush().unwrap();
    check(file.path());
}

#[test]
fn a_missing_file_and_a_foreign_file_are_told_apart() {
    let missing = Path::new("no/such/model.gguf");
    assert!(matches!(inspect(missing), Err(LoadError::Io { .. })));
    for foreign in [b"".as_slice(), b"PK\x03\x04 this is a zip file of some length", &[0; 4096]] {
        with_file(foreign, |path| {
            assert!(matches!(inspect(path), Err(LoadError::NotGguf { .. })));
            assert!(matches!(Engine::load(path, &config(1)), Err(LoadError::NotGguf { .. })));
        });
    }
}

#[test]
fn a_truncated_file_says_so_wherever_it_ends() {
    let whole = fs::read(model_path()).unwrap();
    for length in [24, 25, 100, 1_000, 100_000, 1 << 20, HEADER_BYTES, whole.len() - 1] {
        with_file(&whole[..length], |path| {
            let error = inspect(path).expect_err("truncated");
            let LoadError::Truncated { needed_bytes, file_bytes, .. } = error else {
                panic!("{length}: {error}");
            };
            assert_eq!(file_bytes, length as u64);
            assert!((length as u64 + 1..=whole.len() as u64).contains(&needed_bytes), "{error}");
            // With the whole header, what is needed is known: all of the file.
            assert!(length < HEADER_BYTES || needed_bytes == whole.len() as u64, "{error}");
        });
    }
}

#[test]
fn flipped_bytes_in_the_header_never_panic() {
    let mut header = fs::read(model_path()).unwrap();
    // The tensors' bytes are not needed to reach every check of the header but the last.
    header.truncate(HEADER_BYTES);
    let mut state = 1u64;
    for round in 0..150 {
        let mut damaged = header.clone();
        let within = if round % 2 == 0 { 2_000 } else { HEADER_BYTES };
        for _ in 0..=round % 4 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % within;
            damaged[at] ^= 1 << (state >> 60 & 7);
        }
        with_file(&damaged, |path| {
            assert!(inspect(path).is_err(), "the tensors are cut off");
        });
    }
}

#[test]
fn weights_that_are_no_numbers_are_found_at_load() {
    let mut whole = fs::read(model_path()).unwrap();
    let middle = whole.len() / 2;
    // Infinite scales in some blocks, whatever their type is.
    whole[middle..middle + 64].fill(0x7c);
    with_file(&whole, |path| {
        let error = Engine::load(path, &config(1)).expect_err("infinite scales");
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    });
}
