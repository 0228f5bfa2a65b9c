//! The file beside the output, for verdicts whose turn there has not come.
//!
//! It is made when the first of them comes and goes when none is left, so it is there after a run that was killed, and
//! for the next run to read. A line that is in the output as well counts there alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is younger has most likely not been written back to the disk by the system.
const IN_MEMORY: Duration = Duration::from_secs(1);

/// Whole lines, one behind the other.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// `None` until there is something to keep.
    file: Option<File>,
    /// Bytes in use.
    len: u64,
    /// When the first of them was written; `None` if that was long ago, or if they were synced.
    since: Option<Instant>,
}

// === impl Journal ===

impl Journal {
    /// The journal of `output`, whose path is without links; it need not be there.
    ///
    /// # Errors
    /// It is there, and cannot be opened.
    pub fn beside(output: &Path) -> io::Result<Self> {
        let mut path = output.as_os_str().to_owned();
        path.push(".journal");
        let path = PathBuf::from(path);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let len = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|found| found.len()))?;
        Ok(Self { path, file, len, since: None })
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads it from its start; nothing where it is not there.
    pub fn reader(&self) -> Box<dyn io::BufRead + '_> {
        match &self.file {
            Some(file) => Box::new(BufReader::new(file)),
            None => Box::new(io::empty()),
        }
    }

    /// Forgets what is behind `len` bytes: a line that was cut off while it was written.
    pub fn cut(&mut self, len: u64) -> io::Result<()> {
        self.len = len;
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(len))
    }

    /// Keeps a line, and tells where. `like` is the file whose readers may read this one.
    pub fn append(&mut self, line: &[u8], like: &File) -> io::Result<Range<u64>> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .read(true)
                .write(true)
                .truncate(true)
                .open(&self.path)?;
            file.set_permissions(like.metadata()?.permissions())?;
            self.file = Some(file);
        }
        let file = self.file.as_mut().expect("it was opened just now");
        file.seek(SeekFrom::Start(self.len))?;
        file.write_all(line)?;
        if self.len == 0 {
            self.since = Some(Instant::now());
        }
        let start = self.len;
        self.len += line.len() as u64;
        Ok(start..self.len)
    }

    pub fn read(&mut self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let file = self.file.as_mut().expect("a range is of a file");
        read_range(file, range)
    }

    /// Waits until it would outlive the machine's power.
    pub fn sync(&mut self) -> io::Result<()> {
        self.since = None;
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Whether the disk may have lines of it, so that they must be on the disk elsewhere before they go from here.
    pub fn may_be_on_disk(&self) -> bool {
        self.len > 0 && self.since.is_none_or(|since| since.elapsed() >= IN_MEMORY)
    }

    /// Takes the file away.
    pub fn remove(self) -> io::Result<()> {
        if self.file.is_some() { std::fs::remove_file(&self.path) } else { Ok(()) }
    }
}

pub fn read_range(file: &mut File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(range.start))?;
    let n_bytes = range.end - range.start;
    let mut bytes = Vec::new();
    if file.take(n_bytes).read_to_end(&mut bytes)? as u64 != n_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
