//! Stops when stdin closes: the program that started this process holds the other end, which closes however that
//! program ends.

use std::io::{self, Read};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jury_fabric::shutdown::Shutdown;
use tracing::info;

/// Waits for the end of stdin. Before [`StdinWatch::serving`] the process then exits at once.
#[derive(Debug, Clone)]
pub struct StdinWatch(Arc<Mutex<Option<Shutdown>>>);

// === impl StdinWatch ===

impl StdinWatch {
    /// Starts to read stdin; its content is ignored.
    pub fn start() -> Self {
        let watch = Self(Arc::default());
        let ended = watch.clone();
        thread::spawn(move || {
            read_to_end();
            ended.stop();
        });
        watch
    }

    /// From now on, the end of stdin starts a drain.
    pub fn serving(&self, shutdown: &Shutdown) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shutdown.clone());
    }

    fn stop(&self) {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(shutdown) => {
                info!("stdin closed: stopping");
                shutdown.drain.cancel();
            }
            // Nothing is served yet, so no caller is waiting.
            None => process::exit(0),
        }
    }
}

// === private ===

fn read_to_end() {
    let mut ignored = [0; 256];
    loop {
        match io::stdin().lock().read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
