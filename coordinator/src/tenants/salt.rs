//! Salts that separate the tenants' prompts in the workers' caches without revealing names to workers.
//!
//! A salt is a keyed digest of the tenant's name. The key is derived from all token digests in the file: every
//! coordinator with that file makes the same salts, and nobody who lacks even one of the digests can. When a token is
//! added or removed, the salts change, and cached prompts are computed once more.

use super::file::TenantConfig;

/// Separates this use of the digests from any other.
const CONTEXT: &str = "jury 2026-11-27 cache salts of tenants";

/// Makes the salts for one file.
pub(super) struct Salts {
    key: [u8; 32],
}

// === impl Salts ===

impl Salts {
    pub(super) fn of(tenants: &[TenantConfig]) -> Self {
        let mut digests: Vec<&[u8; 32]> = tenants
            .iter()
            .flat_map(|tenant| &tenant.token_digests)
            .map(super::TokenDigest::as_bytes)
            .collect();
        digests.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        for digest in digests {
            hasher.update(digest);
        }
        Self { key: hasher.finalize().into() }
    }

    /// 64 hex digits.
    pub(super) fn salt(&self, name: &str) -> String {
        blake3::keyed_hash(&self.key, name.as_bytes()).to_hex().to_string()
    }
}
