//! Files that get their final name only when complete.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::MergeError;

/// A file being written under a temporary name beside its final path.
pub(super) struct NewFile {
    place: PathBuf,
    partial: PathBuf,
    writer: Option<BufWriter<File>>,
    written: u64,
}

// === impl NewFile ===

impl NewFile {
    pub(super) fn create(place: &Path) -> Result<NewFile, MergeError> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = place.with_file_name(name);
        let file = File::create(&partial)
            .map_err(|source| MergeError::Write { path: partial.clone(), source })?;
        let writer = Some(BufWriter::with_capacity(1 << 20, file));
        Ok(NewFile { place: place.to_owned(), partial, writer, written: 0 })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), MergeError> {
        self.written += bytes.len() as u64;
        self.with(|writer| writer.write_all(bytes))
    }

    /// Appends zeros up to a multiple of `alignment` bytes.
    pub(super) fn pad(&mut self, alignment: u64) -> Result<(), MergeError> {
        let missing = self.written.next_multiple_of(alignment) - self.written;
        self.write(&vec![0; missing as usize])
    }

    /// Flushes the file to disk and gives it its final name; returns the size.
    pub(super) fn finish(mut self) -> Result<u64, MergeError> {
        self.with(|writer| {
            writer.flush()?;
            writer.get_ref().sync_all()
        })?;
        self.writer = None;
        std::fs::rename(&self.partial, &self.place)
            .map_err(|source| MergeError::Write { path: self.place.clone(), source })?;
        Ok(self.written)
    }

    fn with(
        &mut self,
        work: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), MergeError> {
        let closed = || io::Error::other("the file is closed");
        let done = self.writer.as_mut().ok_or_else(closed).and_then(work);
        done.map_err(|source| MergeError::Write { path: self.partial.clone(), source })
    }
}

impl Drop for NewFile {
    /// Removes an incomplete file; a failed write has already reported its error.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.into_parts());
            drop(std::fs::remove_file(&self.partial));
        }
    }
}
