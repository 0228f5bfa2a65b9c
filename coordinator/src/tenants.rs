//! Tenants: who may call, and how much each may use.
//!
//! ```text
//! Authorization: Bearer TOKEN -> SHA-256 -> the book of tenants -> Tenant: share, quotas, what may be kept
//!                                                ^
//! file, checked every second, read when it changed; a broken one is reported, and the last good one stays
//! ```
//!
//! Without a file there is one tenant, `default`, and no token is required.
//!
//! Not promised: quotas across coordinators. Each coordinator counts only its own requests.

mod bucket;
pub mod file;
mod follow;
mod quota;
mod salt;
mod token;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jury_proto::{ErrorCode, JuryError};
use parking_lot::RwLock;

pub use bucket::Bucket;
pub use file::{FileError, TenantConfig};
pub(crate) use follow::follow;
pub use quota::{Account, Amount, Charge, OverQuota, Quota, Quotas};
pub use token::{DIGEST_PREFIX, NoRandomness, TokenDigest, new_token};

pub use crate::admission::DEFAULT_TENANT;
use crate::admission::Share;
use salt::Salts;

/// The tenants. Clones share them, and see the same changes.
#[derive(Debug, Clone)]
pub struct Tenants {
    source: Option<PathBuf>,
    book: Arc<RwLock<Arc<Book>>>,
}

/// The tenant of a call, as of when the call was authenticated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenant {
    facts: Arc<Facts>,
    /// The token that identified it; `None` if no token is required.
    token: Option<TokenDigest>,
}

/// Why tenants cannot be loaded from a file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum TenantsError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Wrong { path: PathBuf, problem: FileError },
}

/// All tenants at one point in time.
#[derive(Debug)]
enum Book {
    /// One tenant, which needs no token.
    Open(Arc<Facts>),
    /// The tenants of a file.
    Closed { by_token: HashMap<TokenDigest, Arc<Facts>>, in_order: Vec<Arc<Facts>> },
}

#[derive(Debug)]
struct Facts {
    share: Share,
    account: Account,
    keep_texts: bool,
    operator: bool,
    cache_salt: Option<String>,
}

/// The scheme of an `Authorization` header. Case-insensitive (RFC 7235).
const SCHEME: &str = "Bearer";
const HOW_TO_CALL: &str =
    "send the header \"authorization: Bearer TOKEN\" (jury: --token-file FILE or JURY_TOKEN)";

// === impl Tenants ===

impl Tenants {
    /// One tenant, `default`, that needs no token and has no quotas.
    pub fn open() -> Self {
        Self::of(None, Book::Open(Tenant::in_process().facts))
    }

    /// The tenants of a file.
    ///
    /// # Errors
    /// [`TenantsError`] if it cannot be read, or has an invalid entry.
    pub fn load(path: &Path) -> Result<Self, TenantsError> {
        let tenants = read(path)?;
        Ok(Self::of(Some(path.to_owned()), Book::new(tenants, None)))
    }

    /// The tenant that the token in an `Authorization` header belongs to.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] for no token, or an unknown one.
    pub fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Tenant, JuryError> {
        let book = self.book();
        let by_token = match &*book {
            Book::Open(facts) => return Ok(Tenant { facts: Arc::clone(facts), token: None }),
            Book::Closed { by_token, .. } => by_token,
        };
        let Some(header) = authorization else {
            return Err(unauthenticated(format!("this service wants a token: {HOW_TO_CALL}")));
        };
        let token = bearer(header).ok_or_else(|| {
            unauthenticated(format!(
                "the authorization header holds no bearer token: {HOW_TO_CALL}"
            ))
        })?;
        let digest = TokenDigest::of(token);
        let facts = by_token.get(&digest).ok_or_else(revoked)?;
        Ok(Tenant { facts: Arc::clone(facts), token: Some(digest) })
    }

    /// The same tenant as of now: its settings may have changed, or its token may have been removed.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthenticated`] if its token is no longer valid.
    pub fn renewed(&self, tenant: &Tenant) -> Result<Tenant, JuryError> {
        let facts = match (&*self.book(), &tenant.token) {
            (Book::Open(facts), _) => Arc::clone(facts),
            // A caller inside this process needs no token.
            (Book::Closed { .. }, None) => return Ok(tenant.clone()),
            (Book::Closed { by_token, .. }, Some(token)) => {
                Arc::clone(by_token.get(token).ok_or_else(revoked)?)
            }
        };
        Ok(Tenant { facts, token: tenant.token })
    }

    /// Every tenant's name and weight, in the order of the file.
    pub fn names(&self) -> Vec<(Arc<str>, u32)> {
        let of = |facts: &Arc<Facts>| (Arc::clone(&facts.share.tenant), facts.share.weight);
        match &*self.book() {
            Book::Open(facts) => vec![of(facts)],
            Book::Closed { in_order, .. } => in_order.iter().map(of).collect(),
        }
    }

    /// Whether verdicts may be kept with the texts of the tenant with this name; false if there is no such tenant.
    pub fn keep_texts_of(&self, name: &str) -> bool {
        let may = |facts: &Arc<Facts>| &*facts.share.tenant == name && facts.keep_texts;
        match &*self.book() {
            Book::Open(facts) => may(facts),
            Book::Closed { in_order, .. } => in_order.iter().any(may),
        }
    }

    /// The file they come from; `None` if there is one tenant that needs no token.
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// Reloads the file. What tenants have used of their quotas stays used.
    fn reload(&self) -> Result<(), TenantsError> {
        let Some(path) = &self.source else { return Ok(()) };
        let tenants = read(path)?;
        let mut book = self.book.write();
        *book = Arc::new(Book::new(tenants, Some(&book)));
        Ok(())
    }

    fn of(source: Option<PathBuf>, book: Book) -> Self {
        Self { source, book: Arc::new(RwLock::new(Arc::new(book))) }
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read())
    }
}

impl Default for Tenants {
    fn default() -> Self {
        Self::open()
    }
}

// === impl Tenant ===

impl Tenant {
    /// The tenant of callers inside this process: no token, no quotas.
    pub fn in_process() -> Self {
        let facts = Facts {
            share: Share::default(),
            account: Account::default(),
            keep_texts: true,
            operator: true,
            cache_salt: None,
        };
        Self { facts: Arc::new(facts), token: None }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.facts.share.tenant
    }

    /// Whether its status shows every tenant, rather than only itself.
    pub fn is_operator(&self) -> bool {
        self.facts.operator
    }

    /// Whether verdicts may be kept with its texts after they were answered.
    pub fn keeps_texts(&self) -> bool {
        self.facts.keep_texts
    }

    /// Separates its prompts from those of other tenants in the workers' caches; `None` if tenants are not
    /// distinguished.
    pub(crate) fn cache_salt(&self) -> Option<&str> {
        self.facts.cache_salt.as_deref()
    }

    pub(crate) fn share(&self) -> &Share {
        &self.facts.share
    }

    /// Charges a request to its quotas.
    pub(crate) fn charge(&self, amount: Amount) -> Result<Charge, OverQuota> {
        self.facts.account.take(amount)
    }
}

// === impl Book ===

impl Book {
    fn new(tenants: Vec<TenantConfig>, earlier: Option<&Self>) -> Self {
        let (mut by_token, mut in_order) = (HashMap::new(), Vec::new());
        let salts = Salts::of(&tenants);
        for config in tenants {
            let account = earlier.and_then(|book| book.account(&config.name)).unwrap_or_default();
            account.set_quotas(config.quotas);
            let TenantConfig {
                name, token_digests, weight, queue_share, keep_texts, operator, ..
            } = config;
            let cache_salt = Some(salts.salt(&name));
            let share = Share { tenant: name.into(), weight, queue_share };
            let facts = Arc::new(Facts { share, account, keep_texts, operator, cache_salt });
            by_token.extend(token_digests.into_iter().map(|digest| (digest, Arc::clone(&facts))));
            in_order.push(facts);
        }
        Self::Closed { by_token, in_order }
    }

    fn account(&self, name: &str) -> Option<Account> {
        let Self::Closed { in_order, .. } = self else { return None };
        let known = in_order.iter().find(|facts| &*facts.share.tenant == name)?;
        Some(known.account.clone())
    }
}

// === private ===

fn read(path: &Path) -> Result<Vec<TenantConfig>, TenantsError> {
    let path = || path.to_owned();
    let text = std::fs::read_to_string(path())
        .map_err(|source| TenantsError::Unreadable { path: path(), source })?;
    file::parse(&text).map_err(|problem| TenantsError::Wrong { path: path(), problem })
}

fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
}

fn revoked() -> JuryError {
    unauthenticated(
        "this token is not known here: it was mistyped, or taken back; ask whoever runs the service for another"
            .to_owned(),
    )
}

fn unauthenticated(message: String) -> JuryError {
    JuryError::new(ErrorCode::Unauthenticated, message)
}

#[cfg(test)]
mod tests;
