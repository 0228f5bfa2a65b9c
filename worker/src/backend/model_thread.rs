//! The thread that a model lives on, and what tells that it died.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{io, thread};

use tokio::sync::watch;

/// Runs `turn` on a thread of its own until it says that it is done. If it panics, what is returned here tells why, after
/// all that `turn` held has been dropped.
pub(super) fn spawn(
    mut turn: impl FnMut() -> bool + Send + 'static,
) -> io::Result<watch::Receiver<Option<Arc<str>>>> {
    let (death, told) = watch::channel(None);
    thread::Builder::new().name("jury-model".to_owned()).spawn(move || {
        // The state is used no more after a panic: it is dropped, which fails whatever was inside.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| while turn() {})) {
            let why: Arc<str> = panic_text(panic.as_ref()).into();
            tracing::error!(why = &*why, "model thread panicked");
            drop(turn);
            death.send_replace(Some(why));
        }
    })?;
    Ok(told)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
