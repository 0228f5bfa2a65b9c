//! The laws of directories, applied to the in-process one: all except the outage, because there is no server behind
//! it.
//!
//! A fixed list has no stage. Its promise is that nothing is added or removed, and each of these laws begins with an
//! addition; its own tests check it.

use jury_fabric::directory::{Directory, InProcess, Registration};

use super::laws::Stage;
use super::worker;

crate::laws! {
    jury_fabric::directory::InProcess::new();
    a_watcher_is_told_who_is_there_and_who_comes_and_goes,
    watchers_that_come_at_different_times_know_the_same,
    a_worker_that_restarts_under_its_name_is_another,
}

impl Stage for InProcess {
    fn directory(&self) -> &dyn Directory {
        self
    }

    async fn add(&mut self, id: &str) {
        InProcess::add(self, worker(id));
    }

    async fn remove(&mut self, id: &str) {
        InProcess::remove(self, id);
    }

    async fn restart(&mut self, id: &str) {
        let elsewhere = "http://elsewhere:7711".to_owned();
        InProcess::add(self, Registration { address: elsewhere, ..worker(id) });
    }

    async fn outage(&mut self, _gone: &str, _came: &str) {
        unreachable!("no server is behind it, so this law is not among its own");
    }
}
