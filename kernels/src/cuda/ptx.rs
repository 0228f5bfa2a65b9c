//! The committed PTX of the kernels (`../../cuda/ptx`), which `make cuda` writes.

/// Pairs of a source's name and its PTX.
pub(super) const MODULES: [(&str, &str); 21] = [
    ("add_routed", include_str!("../../cuda/ptx/add_routed.ptx")),
    ("assign_seats", include_str!("../../cuda/ptx/assign_seats.ptx")),
    ("attend", include_str!("../../cuda/ptx/attend.ptx")),
    ("attend_latent", include_str!("../../cuda/ptx/attend_latent.ptx")),
    ("draw", include_str!("../../cuda/ptx/draw.ptx")),
    ("embed", include_str!("../../cuda/ptx/embed.ptx")),
    ("expand_slots", include_str!("../../cuda/ptx/expand_slots.ptx")),
    ("gate", include_str!("../../cuda/ptx/gate.ptx")),
    ("gather_norm", include_str!("../../cuda/ptx/gather_norm.ptx")),
    ("join_norm", include_str!("../../cuda/ptx/join_norm.ptx")),
    ("latent_store", include_str!("../../cuda/ptx/latent_store.ptx")),
    ("masses", include_str!("../../cuda/ptx/masses.ptx")),
    ("merge_parts", include_str!("../../cuda/ptx/merge_parts.ptx")),
    ("multiply_experts", include_str!("../../cuda/ptx/multiply_experts.ptx")),
    ("multiply_heads", include_str!("../../cuda/ptx/multiply_heads.ptx")),
    ("norm", include_str!("../../cuda/ptx/norm.ptx")),
    ("product8", include_str!("../../cuda/ptx/product8.ptx")),
    ("rotate_store", include_str!("../../cuda/ptx/rotate_store.ptx")),
    ("route", include_str!("../../cuda/ptx/route.ptx")),
    ("soft_cap", include_str!("../../cuda/ptx/soft_cap.ptx")),
    ("widen8", include_str!("../../cuda/ptx/widen8.ptx")),
];

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use sha2::{Digest, Sha256};

    use super::MODULES;

    fn files(ending: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
        files.sort();
        files
    }

    #[test]
    fn the_ptx_is_that_of_the_sources() {
        let sources = files("cu");
        let names: Vec<&str> =
            sources.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, MODULES.map(|(name, _)| name), "every source is a module");
        let headers: Vec<u8> =
            files("cuh").iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
        for (path, (name, ptx)) in sources.iter().zip(MODULES) {
            let mut digest = Sha256::new();
            digest.update(std::fs::read(path).unwrap());
            digest.update(&headers);
            let digest = digest.finalize();
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let first = ptx.lines().next().unwrap_or_default();
            assert_eq!(
                first,
                format!("// sources: {digest}"),
                "run `make cuda`: {name}.cu has changed"
            );
        }
    }

    #[test]
    fn drivers_since_cuda_12_take_it() {
        for (name, ptx) in MODULES {
            assert!(ptx.contains("\n.version 8.0\n"), "{name}");
            assert!(ptx.contains("\n.target sm_80\n"), "{name}");
            assert!(!ptx.contains('\0'), "{name}");
        }
    }
}
