//! `jury doctor`: what this machine offers, and likely problems.
//!
//! ```text
//! facts     looked up: CPU, memory, GPUs, models, Python, etcd, limits; own modules: cuda, huge_pages, llama_cpp
//! findings  facts -> warnings and what is broken. Pure
//! page      facts and findings, for a person
//! ```
//!
//! A warning is about something that works badly; broken is something that is configured and cannot work. Only the
//! latter changes the exit code.

mod cuda;
mod facts;
mod findings;
mod huge_pages;
mod llama_cpp;
mod page;

use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use serde::Serialize;

use self::facts::Facts;
use self::findings::Findings;
use crate::args::DoctorArgs;
use crate::score::print;

/// The JSON output.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    facts: &'a Facts,
    #[serde(flatten)]
    findings: &'a Findings,
}

pub async fn run(args: DoctorArgs) -> Result<Exit, Failed> {
    let meter = Meter::new(args.json);
    let facts = Facts::gather(&args, &meter).await;
    meter.clear();
    let facts = facts?;
    let findings = Findings::of(&facts);
    let text = if args.json {
        let report = Report { facts: &facts, findings: &findings };
        json_line(&report).or_exit(Exit::Internal)?
    } else {
        page::page(&facts, &findings)
    };
    print(&text)?;
    Ok(if findings.broken.is_empty() { Exit::Done } else { Exit::Unavailable })
}
