//! The driver between workbench and workers, read sample by sample.

#[path = "../../../tests/in_memory/workers.rs"]
#[expect(dead_code, reason = "the integration tests end workers one by one")]
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jury_grm::domain::{FailureKind, Sample};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend, example_group};
use tokio::time::Instant;

use super::Drawing;
use crate::dispatch::{Drew, HedgeBudget, Job};
use crate::fleet::Fleet;
use workers::Workers;

const BUDGET: Duration = Duration::from_secs(10);

/// Starts to draw `k` samples of one order, and reads until `n_calls` workers have started.
async fn begun(workers: &Workers, k: u32, n_calls: usize) -> Drawing {
    let directory = Arc::new(workers.directory.clone());
    let fleet = Fleet::start(directory, workers.connector.clone());
    while fleet.capacities().is_empty() {
        tokio::task::yield_now().await;
    }
    let group = example_group(k);
    let job = Job {
        prompts: BTreeMap::from([(vec![0, 1], group.messages.into())]),
        specs: group.samples,
        settings: group.settings,
        head_digest: None,
        hidden_states: false,
        cache_salt: None,
        class: fleet.class_for(None).expect("a worker is ready"),
        request_id: group.request_id,
        deadline: Instant::now() + BUDGET,
        max_reissues: 3,
        worker_wait: Duration::from_secs(5),
        hedge_budget: HedgeBudget::new(1.0),
    };
    let mut drawing = Drawing::new(job, fleet);
    for _ in 0..n_calls {
        assert!(matches!(drawing.next().await, Some(Drew::Progress)), "nothing ends yet");
    }
    drawing
}

/// Everything that is left, by index.
async fn rest(drawing: &mut Drawing) -> Vec<Sample> {
    let mut samples = Vec::new();
    while let Some(drew) = drawing.next().await {
        samples.extend(match drew {
            Drew::Sample(sample) => Some(sample),
            Drew::Progress => None,
        });
    }
    samples.sort_by_key(|sample| sample.spec.index);
    samples
}

fn kinds(samples: &[Sample]) -> Vec<Option<FailureKind>> {
    samples.iter().map(|sample| sample.failure().map(|failure| failure.kind)).collect()
}

fn held() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed))
}

#[tokio::test(start_paused = true)]
async fn samples_that_had_arrived_at_the_deadline_count() {
    let backend = held();
    let handle = backend.handle();
    let workers = Workers::start(Duration::ZERO, &[("w", backend)]);
    let mut drawing = begun(&workers, 4, 1).await;
    for index in [0, 2, 3] {
        handle.release(index);
    }
    handle.wait_for_ends(3).await;
    // The drawing is not polled until the budget is over.
    tokio::time::sleep(BUDGET + Duration::from_secs(1)).await;
    let samples = rest(&mut drawing).await;
    assert_eq!(kinds(&samples), [None, Some(FailureKind::TimedOut), None, None]);
}

#[tokio::test]
async fn what_is_not_needed_is_cancelled_by_message_while_the_call_goes_on() {
    let backend = held();
    let handle = backend.handle();
    let workers = Workers::start(Duration::ZERO, &[("w", backend)]);
    let mut drawing = begun(&workers, 4, 1).await;
    drawing.not_needed([1, 3]);
    let scripted = async {
        handle.wait_for_cancels(2).await;
        assert_eq!(handle.cancelled(), [1, 3]);
        handle.release_all();
    };
    let (samples, ()) = tokio::join!(rest(&mut drawing), scripted);
    let not_needed = Some(FailureKind::NotNeeded);
    assert_eq!(kinds(&samples), [None, not_needed, None, not_needed]);
    assert_eq!(handle.ended(), [0, 2], "the call went on");
    assert_eq!(handle.groups().len(), 1);
}

#[tokio::test]
async fn a_stopped_drawing_ends_every_sample_and_tells_the_worker() {
    let backend = held();
    let handle = backend.handle();
    let workers = Workers::start(Duration::ZERO, &[("w", backend)]);
    let mut drawing = begun(&workers, 4, 1).await;
    drawing.stop();
    assert_eq!(kinds(&rest(&mut drawing).await), [Some(FailureKind::NotNeeded); 4]);
    drop(drawing);
    handle.wait_until_idle().await;
    assert!(handle.ended().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_attempts_the_first_end_counts_and_the_other_is_cancelled_while_its_call_goes_on() {
    let (slow, quick) = (held(), held());
    let (slow_script, quick_script) = (slow.handle(), quick.handle());
    let workers = Workers::start(Duration::ZERO, &[("slow", slow), ("quick", quick)]);
    let mut drawing = begun(&workers, 8, 2).await;
    let indices =
        |group: &SampleGroup| -> Vec<u32> { group.samples.iter().map(|spec| spec.index).collect() };
    let [at_slow] = &slow_script.groups()[..] else { panic!("one call each") };
    let stragglers = indices(at_slow);
    let [at_quick] = &quick_script.groups()[..] else { panic!("one call each") };
    for index in indices(at_quick) {
        quick_script.release(index);
    }

    let scripted = async {
        quick_script.wait_for_groups(2).await;
        assert_eq!(indices(&quick_script.groups()[1]), stragglers, "all of them lag behind");
        quick_script.release(stragglers[0]);
        slow_script.wait_for_cancel(stragglers[0]).await;
        assert_eq!(slow_script.cancelled(), [stragglers[0]], "its call goes on");
        slow_script.release_all();
    };
    let (samples, ()) = tokio::join!(rest(&mut drawing), scripted);
    assert_eq!(kinds(&samples), [None; 8]);
    let effort = drawing.into_effort();
    assert_eq!((effort.tally.hedged, effort.tally.reissued), (4, 0));
    assert_eq!(slow_script.ended(), stragglers[1..], "the slow one was first after all");
}
