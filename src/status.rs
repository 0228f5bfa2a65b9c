//! `jury status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jury_client::{Client, ClientConfig, FleetStatus, TenantStatus, WorkerStatus};
use jury_coordinator::tenants::DEFAULT_TENANT;
use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::columns;

use crate::args::StatusArgs;
use crate::score::{at_endpoint, print};
use crate::tls::connector_to;

/// Sentences are wrapped at this width.
const MAX_COLUMNS: usize = 100;

pub async fn run(args: StatusArgs) -> Result<Exit, Failed> {
    let connector = connector_to(&args.endpoint, &args.tls)?;
    let token = args.token.for_endpoint(&args.endpoint)?;
    let config = ClientConfig { token, ..ClientConfig::default() };
    let channel = connector.connect(&args.endpoint).or_exit(Exit::Usage)?;
    let client = Client::new(channel, config);
    let status = client.status().await.map_err(|error| at_endpoint(error, &args.endpoint))?;
    let text = if args.json { json_line(&status).or_exit(Exit::Internal)? } else { table(&status) };
    print(&text)?;
    Ok(Exit::Done)
}

fn table(status: &FleetStatus) -> String {
    let mut text = String::new();
    let connected =
        if status.directory_connected { "" } else { " (disconnected: the last known fleet)" };
    let _ = writeln!(text, "jury {}, workers from {}{connected}", status.version, status.directory);
    let _ = writeln!(
        text,
        "requests: {} running, {} waiting (at most {} per model)",
        status.requests_running, status.requests_queued, status.queue_limit
    );
    text.push_str(&tenants(status));
    if status.workers.is_empty() {
        text.push_str("no workers\n");
        return text;
    }
    let mut rows =
        vec![["WORKER", "MODEL", "DIGEST", "SAMPLES", "STATE", "ADDRESS"].map(String::from)];
    for worker in &status.workers {
        let digest = worker.model_digest.chars().take(8).collect();
        let samples = format!("{} of {}", worker.running, worker.capacity);
        rows.push([
            worker.worker_id.clone(),
            worker.model.clone(),
            digest,
            samples,
            worker.state.clone(),
            worker.address.clone(),
        ]);
    }
    text.push_str(&columns(&rows));
    for worker in &status.workers {
        if !worker.state_detail.is_empty() {
            let detail =
                format!("{} is {}: {}", worker.worker_id, worker.state, worker.state_detail);
            text.push_str(&paragraph(&detail));
        }
    }
    text.push_str(&capabilities(status));
    text.push_str(&adapters(status));
    text.push_str(&heads(status));
    text.push_str(&meta_rms(status));
    text
}

/// One line per tenant, if there are others than the default tenant, which needs no token.
fn tenants(status: &FleetStatus) -> String {
    let is_default = |tenant: &TenantStatus| tenant.name == DEFAULT_TENANT;
    if status.tenants.iter().all(is_default) {
        return String::new();
    }
    let line = |tenant: &TenantStatus| {
        let TenantStatus { name, weight, requests_running, requests_queued } = tenant;
        format!(
            "tenant {name}: {requests_running} running, {requests_queued} waiting, weight {weight}\n"
        )
    };
    status.tenants.iter().map(line).collect()
}

/// Capabilities of backends, one line for all workers with the same ones.
fn capabilities(status: &FleetStatus) -> String {
    let mut workers_by_capabilities: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for worker in &status.workers {
        let Some(capabilities) = &worker.capabilities else { continue };
        let capabilities = match &capabilities[..] {
            [] => "none beyond drawing samples".to_owned(),
            names => names.join(", "),
        };
        workers_by_capabilities.entry(capabilities).or_default().push(&worker.worker_id);
    }
    let line = |(capabilities, ids): (String, Vec<&str>)| {
        paragraph(&format!("capabilities of {}: {capabilities}", names(&ids, status)))
    };
    workers_by_capabilities.into_iter().map(line).collect()
}

/// Adapters, one line each.
fn adapters(status: &FleetStatus) -> String {
    let mut workers_by_model: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for worker in &status.workers {
        for adapted in &worker.adapters {
            let model = (&*adapted.name, &*adapted.model_digest, &*worker.model);
            workers_by_model.entry(model).or_default().push(&worker.worker_id);
        }
    }
    let line = |((name, digest, base), ids): ((&str, &str, &str), Vec<&str>)| {
        let digest: String = digest.chars().take(8).collect();
        paragraph(&format!(
            "model {name} ({digest}), an adapter of {base}: {}",
            names(&ids, status)
        ))
    };
    workers_by_model.into_iter().map(line).collect()
}

/// Heads, one line each.
fn heads(status: &FleetStatus) -> String {
    let mut workers_by_head: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for worker in &status.workers {
        for head in &worker.heads {
            let head = (head.name.as_str(), head.digest.as_str());
            workers_by_head.entry(head).or_default().push(&worker.worker_id);
        }
    }
    let line = |((name, digest), ids): ((&str, &str), Vec<&str>)| {
        let digest: String = digest.chars().take(8).collect();
        paragraph(&format!("head {name} ({digest}): {}", names(&ids, status)))
    };
    workers_by_head.into_iter().map(line).collect()
}

/// Workers that rank samples and draw none.
fn meta_rms(status: &FleetStatus) -> String {
    let ranks =
        status.workers.iter().filter(|worker| worker.roles.iter().any(|role| role == "meta"));
    let line = |worker: &WorkerStatus| {
        let WorkerStatus { worker_id, model, .. } = worker;
        paragraph(&format!("Meta RM {model}: {worker_id}, which draws no samples"))
    };
    ranks.map(line).collect()
}

/// The workers' ids, or that they are all of the fleet.
fn names(ids: &[&str], status: &FleetStatus) -> String {
    match ids.len() > 1 && ids.len() == status.workers.len() {
        true => "all workers".to_owned(),
        false => ids.join(", "),
    }
}

/// Wraps text to the width of a terminal.
fn paragraph(text: &str) -> String {
    let options = textwrap::Options::new(MAX_COLUMNS).subsequent_indent("  ");
    textwrap::fill(text, options) + "\n"
}

#[cfg(test)]
mod tests {
    use jury_client::HeadStatus;

    use super::*;

    fn tenant(name: &str, weight: u32, running: u32, queued: u32) -> TenantStatus {
        let name = name.to_owned();
        TenantStatus { name, weight, requests_running: running, requests_queued: queued }
    }

    #[test]
    fn the_fleet_reads_like_this() {
        let worker = WorkerStatus {
            worker_id: "w1".to_owned(),
            address: "http://10.0.0.5:7481".to_owned(),
            model: "smollm2-135m".to_owned(),
            model_digest: "0123456789".to_owned(),
            numerics: String::new(),
            capacity: 32,
            running: 4,
            version: "0.1.0".to_owned(),
            state: "ready".to_owned(),
            capabilities: Some(vec!["seeds".to_owned(), "distributions".to_owned()]),
            heads: vec![HeadStatus { name: "meta-1".to_owned(), digest: "abcdef0123".to_owned() }],
            ..WorkerStatus::default()
        };
        let refused = WorkerStatus {
            worker_id: "w2".to_owned(),
            running: 0,
            state: "refused".to_owned(),
            state_detail:
                "its method version is 1, this coordinator's is 2; samples of two versions \
                           never share a vote, run the same version of Jury on both"
                    .to_owned(),
            capabilities: None,
            heads: Vec::new(),
            ..worker.clone()
        };
        let meta = WorkerStatus {
            worker_id: "m1".to_owned(),
            model: "metarm".to_owned(),
            model_digest: "fedcba9876".to_owned(),
            running: 0,
            roles: vec!["meta".to_owned()],
            capabilities: None,
            heads: Vec::new(),
            ..worker.clone()
        };
        let status = FleetStatus {
            version: "0.1.0".to_owned(),
            requests_running: 1,
            requests_queued: 2,
            queue_limit: 1024,
            directory: "etcd".to_owned(),
            directory_connected: false,
            workers: vec![worker, refused, meta],
            tenants: vec![tenant("search", 2, 1, 0), tenant("maths", 1, 0, 2)],
        };
        insta::assert_snapshot!(table(&status), @r"
        jury 0.1.0, workers from etcd (disconnected: the last known fleet)
        requests: 1 running, 2 waiting (at most 1024 per model)
        tenant search: 1 running, 0 waiting, weight 2
        tenant maths: 0 running, 2 waiting, weight 1
        WORKER  MODEL         DIGEST    SAMPLES  STATE    ADDRESS
        w1      smollm2-135m  01234567  4 of 32  ready    http://10.0.0.5:7481
        w2      smollm2-135m  01234567  0 of 32  refused  http://10.0.0.5:7481
        m1      metarm        fedcba98  0 of 32  ready    http://10.0.0.5:7481
        w2 is refused: its method version is 1, this coordinator's is 2; samples of two versions never share
          a vote, run the same version of Jury on both
        capabilities of w1: seeds, distributions
        head meta-1 (abcdef01): w1
        Meta RM metarm: m1, which draws no samples
        ");
        assert!(table(&status).lines().all(|line| line.chars().count() <= MAX_COLUMNS));
    }
}
