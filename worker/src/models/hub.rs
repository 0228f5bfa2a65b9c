//! Files on the Hugging Face hub.
//!
//! The hub's client has no timeouts, so its calls run on separate threads, and we wait for them with timeouts: a hub
//! that does not answer, or stops sending, is given up. Its thread is left behind and ends when its socket does.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use super::digest::hash_file;
use super::install::FetchLock;
use super::{Phase, Progress};

/// A hub, and the maximum time until its first answer.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    pub(super) endpoint: String,
    pub(super) patience: Duration,
}

/// A file on the hub.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    /// `owner/repo`.
    pub(super) repo: &'a str,
    /// Its path there.
    pub(super) file: &'a str,
    /// The SHA-256 that it must have; `None` trusts the hub.
    pub(super) expected: Option<&'a str>,
}

/// A download that sends nothing for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Progress reports that may wait to be displayed; the download blocks when there are more.
const PROGRESS_ROOM: usize = 64;

// === impl Hub ===

impl Default for Hub {
    /// The public hub. It normally answers in well under a second; users who cannot reach it wait no longer than this.
    fn default() -> Self {
        Self { endpoint: "https://huggingface.co".to_owned(), patience: Duration::from_secs(4) }
    }
}

impl Hub {
    /// Fetches a file and returns its digest; on failure, a sentence without its full stop that says what went wrong.
    pub(super) fn fetch(
        &self,
        file: &File<'_>,
        lock: &FetchLock,
        progress: &dyn Progress,
    ) -> Result<String, String> {
        let way = way(&self.endpoint, ureq::Proxy::try_from_env().as_ref());
        let failed = |problem: String| format!("The hub ({way}) failed: {problem}");
        let api = self.api(&lock.staging().join("hub")).map_err(|e| failed(e.to_string()))?;
        progress.phase(Phase::AskingHub);
        let told = self.ask(&api, file).map_err(failed)?;
        let expected = file.expected.map(str::to_owned).or_else(|| told.clone());
        if let (Some(expected), Some(told)) = (&expected, &told)
            && expected != told
        {
            return Err(failed(format!("its file has sha256 {told} instead of {expected}")));
        }
        let whole = download(&api, file, progress).map_err(failed)?;
        let digest = hash_file(&whole, progress).map_err(|e| failed(e.to_string()))?;
        if let Some(expected) = expected
            && digest != expected
        {
            let _ = std::fs::remove_dir_all(lock.staging());
            return Err(failed(format!("what came has sha256 {digest} instead of {expected}")));
        }
        lock.adopt(&whole).map_err(|e| failed(e.to_string()))?;
        Ok(digest)
    }

    fn api(&self, folder: &Path) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(Cache::new(folder.to_owned()))
            .with_endpoint(self.endpoint.clone())
            .with_progress(false)
            .build()
    }

    /// Asks for the file's digest; the hub reports one for large files.
    fn ask(&self, api: &Api, file: &File<'_>) -> Result<Option<String>, String> {
        let (sender, answer) = mpsc::sync_channel(1);
        let (api, url) = (api.clone(), api.repo(repo(file)).url(file.file));
        thread::spawn(move || sender.send(api.metadata(&url)));
        match answer.recv_timeout(self.patience) {
            Ok(Ok(metadata)) => Ok(Some(metadata.etag().to_owned()).filter(|tag| is_sha256(tag))),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", self.patience.as_secs_f32())),
        }
    }
}

/// The endpoint, and the proxy that its client uses, if any. Never includes a proxy's user and password.
fn way(endpoint: &str, proxy: Option<&ureq::Proxy>) -> String {
    let uri = endpoint.parse().ok();
    match proxy.filter(|proxy| uri.is_none_or(|uri| !proxy.is_no_proxy(&uri))) {
        Some(proxy) => {
            let (host, port) = (proxy.host(), proxy.port());
            format!("{endpoint}, through the proxy {host}:{port} of the environment")
        }
        None => endpoint.to_owned(),
    }
}

fn repo(file: &File<'_>) -> Repo {
    Repo::new(file.repo.to_owned(), RepoType::Model)
}

fn is_sha256(tag: &str) -> bool {
    tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Messages from a downloading thread.
enum Said {
    Total(u64),
    More(u64),
    Ended(Result<PathBuf, String>),
}

fn download(api: &Api, file: &File<'_>, progress: &dyn Progress) -> Result<PathBuf, String> {
    progress.phase(Phase::DownloadingFromHub);
    let (sender, said) = mpsc::sync_channel(PROGRESS_ROOM);
    let (repo, name) = (api.repo(repo(file)), file.file.to_owned());
    thread::spawn(move || {
        let teller = Teller(sender.clone());
        let ended = repo.download_with_progress(&name, teller);
        // The hub client's folders contain a link; the file that it points to is the one to rename.
        let whole = ended.map_err(|e| e.to_string());
        let whole = whole.and_then(|path| path.canonicalize().map_err(|e| e.to_string()));
        sender.send(Said::Ended(whole))
    });
    listen(&said, progress)
}

fn listen(said: &Receiver<Said>, progress: &dyn Progress) -> Result<PathBuf, String> {
    let (mut done_bytes, mut total_bytes) = (0, 0);
    loop {
        match said.recv_timeout(STALLED_AFTER) {
            Ok(Said::Total(bytes)) => (done_bytes, total_bytes) = (0, bytes),
            Ok(Said::More(bytes)) => done_bytes += bytes,
            Ok(Said::Ended(result)) => return result,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("nothing came for {} s", STALLED_AFTER.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the download broke off".to_owned()),
        }
        progress.advanced(done_bytes, total_bytes);
    }
}

/// Forwards what the hub's client reports to the waiting thread.
struct Teller(mpsc::SyncSender<Said>);

// === impl Teller ===

impl hf_hub::api::Progress for Teller {
    fn init(&mut self, size: usize, _filename: &str) {
        let _ = self.0.send(Said::Total(size as u64)); // nobody listens after a stall
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Said::More(size as u64));
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_where_it_is_asked_and_its_password_never() {
        let hub = "https://huggingface.co";
        let proxy = ureq::Proxy::new("http://user:secret@proxy.example:3128").unwrap();
        let told = way(hub, Some(&proxy));
        assert!(told.contains("proxy.example:3128") && !told.contains("secret"), "{told}");
        assert_eq!(way(hub, None), hub);
        let builder = ureq::Proxy::builder(ureq::ProxyProtocol::Http).host("proxy.example");
        let proxy = builder.no_proxy("huggingface.co").build().unwrap();
        assert_eq!(way(hub, Some(&proxy)), hub);
    }
}
