//! Damaged and foreign files give typed errors, never a panic or a huge allocation.

use std::fs;
use std::io::Write;
use std::path::Path;

use jury_engine::{Engine, LoadError, inspect};

use crate::support::{config, model_path};

/// All metadata and the table of tensors of the test model come before this offset.
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
            // With the whole header, the needed size is known: the whole file.
            assert!(length < HEADER_BYTES || needed_bytes == whole.len() as u64, "{error}");
        });
    }
}

#[test]
fn flipped_bytes_in_the_header_never_panic() {
    let mut header = fs::read(model_path()).unwrap();
    // The tensors' bytes are not needed for any check of the header except the last.
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
    // Infinite scales in some blocks, whatever their type.
    whole[middle..middle + 64].fill(0x7c);
    with_file(&whole, |path| {
        let error = Engine::load(path, &config(1)).expect_err("infinite scales");
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    });
}

/// The test model with `old` replaced by `new` everywhere in the metadata; both have the same length, so that nothing
/// moves.
fn renamed(old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut whole = fs::read(model_path()).unwrap();
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let (old, new) = (text(old), text(new));
    let header = &mut whole[..HEADER_BYTES];
    let at = header.windows(old.len()).position(|window| window == old).expect("it is there");
    header[at..at + old.len()].copy_from_slice(&new);
    whole
}

#[test]
fn a_file_that_names_no_pre_tokenizer_runs_by_a_guess_that_is_told() {
    let named = inspect(&model_path()).unwrap();
    assert_eq!((named.pre_tokenizer.as_str(), named.pre_tokenizer_is_assumed), ("smollm", false));
    with_file(&renamed("tokenizer.ggml.pre", "tokenizer.ggml.prx"), |path| {
        let inspected = inspect(path).unwrap();
        assert!(inspected.pre_tokenizer_is_assumed);
        assert_ne!(inspected.pre_tokenizer, named.pre_tokenizer);
        let loaded = Engine::load(path, &config(1)).unwrap();
        assert_eq!(*loaded.model(), inspected);
    });
}

#[test]
fn what_cannot_be_loaded_is_refused_by_inspect_in_the_same_words() {
    let mut big_endian = renamed("smollm", "smollm");
    big_endian[4..8].reverse();
    // A tensor's type comes after its name, rank and two sizes.
    let mut mxfp4 = renamed("smollm", "smollm");
    let name = b"blk.0.ffn_up.weight";
    let at = mxfp4[..HEADER_BYTES].windows(name.len()).position(|window| window == name);
    let kind = at.expect("it is there") + name.len() + 4 + 2 * 8;
    mxfp4[kind..kind + 4].copy_from_slice(&39u32.to_le_bytes());
    for (bytes, named) in [
        (renamed("smollm", "smollx"), "pre-tokenizer \"smollx\""),
        (renamed("llama", "lmama"), "lmama"),
        (renamed("gpt2", "gpt9"), "gpt9"),
        (renamed("tokenizer.ggml.tokens", "tokenizer.ggml.tokenx"), "tokenizer.ggml.tokens"),
        (renamed("blk.0.ffn_up.weight", "blk.0.ffn_uq.weight"), "blk.0.ffn_up.weight"),
        (mxfp4, "MXFP4"),
        (big_endian, "big-endian"),
    ] {
        with_file(&bytes, |path| {
            let refused = inspect(path).expect_err(named).to_string();
            assert!(refused.contains(named), "{refused}");
            assert_eq!(Engine::load(path, &config(1)).expect_err(named).to_string(), refused);
        });
    }
}
