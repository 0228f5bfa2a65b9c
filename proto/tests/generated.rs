//! The committed code under `src/gen` is what `jury/v1/*.proto` generates.
//!
//! `make proto` runs this with JURY_UPDATE_PROTO=1, which writes the files instead.

use std::path::Path;

const PROTOS: [&str; 3] = ["jury/v1/types.proto", "jury/v1/reward.proto", "jury/v1/sampling.proto"];
const GENERATED: [&str; 2] = ["jury.v1.rs", "jury.v1.bin"];

#[test]
fn committed_code_is_what_the_contracts_generate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    let fresh = tempfile::tempdir().unwrap();

    tonic_prost_build::configure()
        .codec_path("crate::codec::TypedCodec")
        // Its item is decoded by us, so that one which cannot be does not end the stream.
        .extern_path(".jury.v1.ScoreStreamRequest", "crate::stream::ScoreStreamRequest")
        .file_descriptor_set_path(fresh.path().join("jury.v1.bin"))
        .out_dir(fresh.path())
        .emit_rerun_if_changed(false)
        .compile_protos(&PROTOS.map(|proto| root.join(proto)), &[root.to_path_buf()])
        .expect("the contracts compile");

    for name in GENERATED {
        let generated = std::fs::read(fresh.path().join(name)).unwrap();
        if std::env::var_os("JURY_UPDATE_PROTO").is_some() {
            std::fs::write(committed.join(name), &generated).unwrap();
        }
        // The descriptor set's bytes depend on protoc's version; the code's do not.
        if name.ends_with(".rs") {
            let on_disk = std::fs::read(committed.join(name)).unwrap_or_default();
            assert!(on_disk == generated, "{name} is stale: run `make proto` and commit");
        }
    }
}
