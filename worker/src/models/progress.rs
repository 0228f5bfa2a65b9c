//! The progress of a fetch or a check, for display.

/// Receives the progress of a fetch or a check. Called often, on the thread that does the work: return quickly.
pub trait Progress: Send + Sync {
    /// A new phase begins.
    fn phase(&self, phase: Phase);

    /// Bytes done in this phase; `total_bytes` is 0 if unknown.
    fn advanced(&self, done_bytes: u64, total_bytes: u64);

    /// Something that the user should read, such as why a slower source is used.
    fn note(&self, message: &str);
}

/// The current activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Another process is fetching the same file.
    Waiting,
    /// The hub is asked about the file.
    AskingHub,
    /// Bytes are downloaded from the hub.
    DownloadingFromHub,
    /// Bytes are downloaded from a package index.
    DownloadingPackages,
    /// Parts are joined into one file.
    Joining,
    /// The file's sha256 is computed.
    Hashing,
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

// === impl Phase ===

impl Phase {
    /// A short description for people.
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
