//! Where simulated nodes run: in this process, or in several others of this program (`jury bench nodes`).
//!
//! A process reports the address of each node as a line on stderr, `node http://127.0.0.1:port`.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::note;

use super::config::Point;
use super::node::Nodes;
use crate::Run;
use crate::args::BenchNodesArgs;
use crate::programs::Running;

/// How long a process may take to start its nodes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Prefix of an address.
const MARK: &str = "node ";

/// Listening nodes. They stop when this is dropped.
pub struct Fleet {
    /// `http://127.0.0.1:port` of each.
    pub addresses: Vec<String>,
    _nodes: Option<Nodes>,
    _processes: Vec<Running>,
}

// === impl Fleet ===

impl Fleet {
    /// Starts the nodes of a point, spread evenly over `processes` child processes; 0: in this process.
    pub fn start(point: &Point, processes: usize, seed: u64, run: &Run) -> Result<Self, Failed> {
        if processes == 0 {
            let nodes = Nodes::start(0..point.workers, &point.pace, seed);
            let nodes = run.waits.wait(nodes)??;
            let addresses = nodes.addresses.clone();
            return Ok(Self { addresses, _nodes: Some(nodes), _processes: Vec::new() });
        }
        let pace = serde_json::to_string(&point.pace).or_exit(Exit::Internal)?;
        let program = std::env::current_exe().or_exit(Exit::Internal)?;
        let (found, addresses) = mpsc::channel();
        let processes = shares(point.workers, processes).map(|nodes| {
            let [first, count] = [nodes.start, nodes.len()].map(|number| number.to_string());
            let seed = seed.to_string();
            let arguments = ["bench", "nodes", "--first", &first, "--count", &count];
            let more = ["--seed", &seed, "--pace", &pace];
            let arguments: Vec<String> =
                arguments.into_iter().chain(more).map(str::to_owned).collect();
            let found = found.clone();
            run.programs.start(&program, &arguments, move |line| {
                if let Some(address) = line.strip_prefix(MARK) {
                    // The receiver has given up waiting.
                    drop(found.send(address.to_owned()));
                }
            })
        });
        let processes: Vec<Running> = processes
            .collect::<Result<_, _>>()
            .context("simulated nodes cannot be started")
            .or_exit(Exit::Internal)?;
        let address = |_| addresses.recv_timeout(PATIENCE);
        let addresses: Vec<String> = (0..point.workers)
            .map(address)
            .collect::<Result<_, _>>()
            .map_err(|_| anyhow!("simulated nodes did not listen within {PATIENCE:?}"))
            .or_exit(Exit::Internal)?;
        Ok(Self { addresses, _nodes: None, _processes: processes })
    }
}

/// The range of nodes for each process; no process is left without a node.
fn shares(nodes: usize, processes: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let processes = processes.min(nodes);
    (0..processes).map(move |at| at * nodes / processes..(at + 1) * nodes / processes)
}

/// `jury bench nodes`: serves until it is stopped.
pub fn serve(args: &BenchNodesArgs, run: &Run) -> Result<Exit, Failed> {
    let pace = serde_json::from_str(&args.pace).context("--pace").or_exit(Exit::Usage)?;
    let nodes = args.first..args.first + args.count;
    let nodes = run.waits.wait(Nodes::start(nodes, &pace, args.seed))??;
    for address in &nodes.addresses {
        note(format_args!("{MARK}{address}"));
    }
    run.waits.wait(std::future::pending::<()>())?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_in_one_process_and_none_is_empty() {
        for (nodes, processes) in [(1, 1), (1, 4), (7, 3), (256, 16), (4, 4)] {
            let shares: Vec<_> = shares(nodes, processes).collect();
            assert_eq!(shares.len(), processes.min(nodes));
            assert!(shares.iter().all(|share| !share.is_empty()));
            assert_eq!(
                shares.into_iter().flatten().collect::<Vec<_>>(),
                (0..nodes).collect::<Vec<_>>()
            );
        }
    }
}
