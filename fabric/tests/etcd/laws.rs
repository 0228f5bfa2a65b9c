//! What every directory promises its watchers, whatever its source.

use jury_fabric::directory::Directory;

use super::watcher::Watcher;

/// A directory together with the means to change it.
pub trait Stage {
    fn directory(&self) -> &dyn Directory;
    /// Adds a worker.
    async fn add(&mut self, id: &str);
    /// Removes a worker.
    async fn remove(&mut self, id: &str);
    /// Ends a worker and starts another one with the same id.
    async fn restart(&mut self, id: &str);
    /// The server behind the directory goes away, and comes back without its earlier history. Meanwhile `gone` has
    /// left and `came` has joined.
    async fn outage(&mut self, gone: &str, came: &str);
}

pub async fn a_watcher_is_told_who_is_there_and_who_comes_and_goes(mut stage: impl Stage) {
    stage.add("a").await;
    let mut watcher = Watcher::start(stage.directory());
    watcher.until_reset().await;
    watcher.until(&["a"]).await;
    assert!(stage.directory().is_connected());
    stage.add("b").await;
    watcher.until(&["a", "b"]).await;
    stage.remove("a").await;
    watcher.until(&["b"]).await;
    stage.add("a").await;
    watcher.until(&["a", "b"]).await;
}

pub async fn watchers_that_come_at_different_times_know_the_same(mut stage: impl Stage) {
    let mut early = Watcher::start(stage.directory());
    early.until_reset().await;
    assert!(early.fleet.is_empty());
    for id in ["a", "b", "c"] {
        stage.add(id).await;
    }
    stage.remove("b").await;
    early.until(&["a", "c"]).await;
    let mut late = Watcher::start(stage.directory());
    late.until_reset().await;
    assert_eq!(late.fleet, early.fleet);
}

pub async fn a_worker_that_restarts_under_its_name_is_another(mut stage: impl Stage) {
    stage.add("a").await;
    let mut watcher = Watcher::start(stage.directory());
    watcher.until(&["a"]).await;
    let before = watcher.fleet["a"].clone();
    stage.restart("a").await;
    while watcher.fleet.get("a").is_none_or(|now| *now == before) {
        watcher.next().await;
    }
    assert_eq!(watcher.ids(), ["a"]);
}

pub async fn an_outage_leaves_the_fleet_as_it_was_and_no_ghosts_after_it(mut stage: impl Stage) {
    for id in ["a", "ghost"] {
        stage.add(id).await;
    }
    let mut watcher = Watcher::start(stage.directory());
    watcher.until(&["a", "ghost"]).await;
    stage.outage("ghost", "newcomer").await;
    watcher.until(&["a", "newcomer"]).await;
    stage.add("later").await;
    watcher.until(&["a", "later", "newcomer"]).await;
}

/// Generates a test of each law for a stage.
#[macro_export]
macro_rules! laws {
    ($stage:expr; $($law:ident),+ $(,)?) => {
        mod laws_held {
            $(
                #[tokio::test]
                async fn $law() {
                    $crate::laws::$law($stage).await;
                }
            )+
        }
    };
}
