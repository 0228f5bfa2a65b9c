//! Peak memory with the prompts of the largest legal request, and with a queue full of such requests. Run it on Linux:
//! `cargo run --release --example queue_memory -p jury-coordinator`.
//!
//! There is no worker, so every request waits as long as it may, and none is answered. Requests are made in this
//! process: the memory that gRPC holds while a message is received or sent is not measured.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jury_coordinator::{Config, Coordinator};
use jury_fabric::connector::Connector;
use jury_fabric::directory::InProcess;
use jury_grm::domain::{Item, Query, ScoreRequest, limits};
use jury_grm::plan::plan;
use jury_grm::prompt::{PromptInput, SharedTexts, Span, Template, Variant};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config { worker_wait: Duration::from_secs(3600), ..Config::default() };
    let queue_bytes = config.queue_bytes;
    let directory = Arc::new(InProcess::new());
    let mut registry = Registry::default();
    let coordinator = Coordinator::start(config, directory, Connector::new(), &mut registry)?;
    println!("limit {} MiB, peak at the start {} MiB", queue_bytes >> 20, peak_mib()?);
    print_prompts()?;

    let mut requests = JoinSet::new();
    let mut n_waiting = 0;
    loop {
        let coordinator = coordinator.clone();
        requests.spawn(async move { coordinator.score(largest(n_waiting)).await });
        // A request ends only if it is rejected.
        let ended = tokio::time::timeout(Duration::from_millis(100), requests.join_next()).await;
        match ended {
            Err(_) => n_waiting += 1,
            Ok(ended) => {
                if let Some(Ok(Err(error))) = ended {
                    println!("{n_waiting} requests wait; one more: {error}");
                }
                break;
            }
        }
    }
    println!("peak with the queue full {} MiB", peak_mib()?);
    Ok(())
}

/// Renders the largest request for all its orders, which share its texts.
fn print_prompts() -> Result<(), Box<dyn std::error::Error>> {
    let request = largest(0);
    let before = peak_mib()?;
    let (template, mut texts) = (Template::builtin(), SharedTexts::default());
    let mut prompts = BTreeMap::new();
    let plan = plan(&request);
    for spec in &plan.samples {
        let (item, order) = (&request.item, &spec.order[..]);
        let (scale, variant) = (request.settings.scale, Variant::Plain);
        let input = PromptInput { item, order, scale, variant };
        let rendered = template.render_sharing(&input, &mut texts)?;
        prompts.insert(spec.order.clone(), rendered.messages);
    }
    let shown = |spans: &[Span]| spans.iter().map(|span| span.text.len()).sum::<usize>();
    let n_bytes: usize = prompts.values().flatten().map(|message| shown(&message.spans)).sum();
    println!(
        "a request of {} MiB has {} prompts of {} MiB in all: peak {} MiB before, {} MiB with them",
        request.item.text_bytes() >> 20,
        prompts.len(),
        n_bytes >> 20,
        before,
        peak_mib()?
    );
    Ok(())
}

/// A request with as many samples, responses and bytes as allowed, and different from any other.
fn largest(number: usize) -> ScoreRequest {
    let query = format!("{number:032}");
    let n_bytes = (limits::MAX_ITEM_BYTES - query.len()) / limits::MAX_RESPONSES;
    let response = |i: usize| format!("{i:02}{}", "x".repeat(n_bytes - 2));
    let responses = (0..limits::MAX_RESPONSES).map(response).collect();
    let mut request = ScoreRequest::new(Item::bare(Query::Text(query), responses));
    request.settings.k = limits::MAX_K;
    request.settings.max_panel = 64;
    request.budget_ms = NonZeroU64::new(limits::MAX_BUDGET_MS);
    request.request_id = number.to_string();
    request
}

/// Peak memory of this process.
fn peak_mib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib >> 10)
}
