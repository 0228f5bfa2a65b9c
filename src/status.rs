//! `jury status`.

use std::fmt::Write as _;

use jury_client::{Client, ClientConfig, FleetStatus};
use jury_fabric::connector::Connector;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::columns;

use crate::args::StatusArgs;
use crate::score::{at_endpoint, print};

pub async fn run(args: StatusArgs) -> Result<Exit, Failed> {
    let channel = Connector::new().connect(&args.endpoint).or_exit(Exit::Usage)?;
    let client = Client::new(channel, ClientConfig::default());
    let status = client.status().await.map_err(|error| at_endpoint(error, &args.endpoint))?;
    let text = if args.json {
        let json = serde_json::to_string(&status).or_exit(Exit::Internal)?;
        format!("{json}\n")
    } else {
        table(&status)
    };
    print(&text)?;
    Ok(Exit::Done)
}

fn table(status: &FleetStatus) -> String {
    let mut text = String::new();
    let connected = if status.directory_connected { "" } else { " (away: the last known fleet)" };
    let _ = writeln!(text, "jury {}, workers from {}{connected}", status.version, status.directory);
    let _ = writeln!(
        text,
        "requests: {} running, {} of {} places in the queue taken",
        status.requests_running, status.requests_queued, status.queue_limit
    );
    if status.workers.is_empty() {
        text.push_str("no workers\n");
        return text;
    }
    let mut rows =
        vec![["WORKER", "MODEL", "DIGEST", "SAMPLES", "STATE", "ADDRESS"].map(String::from)];
    for worker in &status.workers {
        let digest = worker.model_digest.chars().take(8).collect();
        let samples = format!("{} of {}", worker.running, worker.capacity);
        let state = if worker.connected { "ready" } else { "away" };
        rows.push([
            worker.worker_id.clone(),
            worker.model.clone(),
            digest,
            samples,
            state.to_owned(),
            worker.address.clone(),
        ]);
    }
    text.push_str(&columns(&rows));
    text
}

#[cfg(test)]
mod tests {
    use jury_client::WorkerStatus;

    use super::*;

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
            connected: true,
            version: "0.1.0".to_owned(),
        };
        let status = FleetStatus {
            version: "0.1.0".to_owned(),
            requests_running: 1,
            requests_queued: 2,
            queue_limit: 1024,
            directory: "etcd".to_owned(),
            directory_connected: false,
            workers: vec![worker],
        };
        insta::assert_snapshot!(table(&status), @r"
        jury 0.1.0, workers from etcd (away: the last known fleet)
        requests: 1 running, 2 of 1024 places in the queue taken
        WORKER  MODEL         DIGEST    SAMPLES  STATE  ADDRESS
        w1      smollm2-135m  01234567  4 of 32  ready  http://10.0.0.5:7481
        ");
    }
}
