//! Result files. They are checked for writability before hours are spent on measuring.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::print;
use serde::Serialize;

use super::Run;

/// A file that was writable when the run began.
#[derive(Debug)]
pub struct Output {
    /// The option that named it.
    flag: &'static str,
    path: PathBuf,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{flag}: {path} is a folder; name a file in it")]
    IsFolder { flag: &'static str, path: PathBuf },
    #[error("{flag}: the folder {folder} is not there; make it, or name a file elsewhere")]
    NoFolder { flag: &'static str, folder: PathBuf },
    #[error("{flag}: {path} cannot be written; name a file elsewhere")]
    Io { flag: &'static str, path: PathBuf, source: io::Error },
}

// === impl Output ===

impl Output {
    /// Checks that the file of an option can be written. Existing content stays, and no file is left behind if there
    /// was none.
    pub fn check(flag: &'static str, path: Option<&Path>) -> Result<Option<Self>, Failed> {
        let Some(path) = path else { return Ok(None) };
        probe(flag, path).or_exit(Exit::CannotWrite)?;
        Ok(Some(Self { flag, path: path.to_owned() }))
    }

    fn write(&self, text: &str) -> Result<(), OutputError> {
        let (flag, path) = (self.flag, &self.path);
        std::fs::write(path, text).map_err(io_error(flag, path))
    }
}

/// Prints the results, then writes them to the file. If one of the two fails, the other still gets them.
pub fn deliver(
    run: &Run,
    page: &str,
    output: Option<&Output>,
    text: impl FnOnce() -> Result<String, Failed>,
) -> Result<(), Failed> {
    run.so_far.take();
    run.meter.clear();
    let printed = print(page);
    if let Some(output) = output {
        output.write(&text()?).or_exit(Exit::CannotWrite)?;
    }
    printed
}

/// A report as JSON.
pub fn json_page(report: &impl Serialize) -> Result<String, Failed> {
    Ok(serde_json::to_string_pretty(report).or_exit(Exit::Internal)? + "\n")
}

// === private ===

fn probe(flag: &'static str, path: &Path) -> Result<(), OutputError> {
    let found = path.symlink_metadata().is_ok();
    match path.metadata() {
        Ok(file) if file.is_dir() => {
            return Err(OutputError::IsFolder { flag, path: path.to_owned() });
        }
        // Opening a pipe would block until it has a reader.
        Ok(file) if !file.is_file() => return Ok(()),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(OutputError::NoFolder { flag, folder: folder.to_owned() });
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    options.open(path).map_err(io_error(flag, path))?;
    if !found {
        std::fs::remove_file(path).map_err(io_error(flag, path))?;
    }
    Ok(())
}

fn io_error(flag: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputError {
    let path = path.to_owned();
    move |source| OutputError::Io { flag, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let failed = Output::check("--markdown", Some(path)).unwrap_err();
        assert_eq!(failed.exit, Exit::CannotWrite);
        failed.error.to_string()
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused_with_its_option_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let told = refused(&folder.path().join("no-such-folder/results.md"));
        assert!(told.starts_with("--markdown: the folder "), "{told}");
        assert!(told.contains("no-such-folder is not there; make it"), "{told}");
        let told = refused(folder.path());
        assert!(told.ends_with("is a folder; name a file in it"), "{told}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(refused(&file.join("results.md")).contains("/file is not there"));
        assert!(refused(Path::new("")).contains("cannot be written"));
    }

    #[test]
    fn looking_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.md"), folder.path().join("new.md"));
        std::fs::write(&old, "earlier results").unwrap();
        assert!(Output::check("--markdown", Some(&old)).unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "earlier results");
        let output = Output::check("--markdown", Some(&new)).unwrap().unwrap();
        assert!(!new.exists());
        output.write("results").unwrap();
        assert_eq!(std::fs::read_to_string(&new).unwrap(), "results");
        assert!(Output::check("--svg", None).unwrap().is_none());
    }
}
