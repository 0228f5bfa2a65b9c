//! `jury eval compare`: reports beside each other, by accuracy and by what it took.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use jury_eval::compare::{Row, rows, table};
use jury_eval::report::{FORMAT, Report};
use jury_terminal::exit::{Exit, Failed, OrExit};

use crate::args::CompareArgs;

pub fn run(args: &CompareArgs) -> Result<Exit, Failed> {
    let named: Vec<(String, Report)> = args
        .reports
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<_, Failed>>()?;
    let compared: Vec<Row> = rows(&named);
    let text = if args.json {
        let mut json = serde_json::to_string_pretty(&compared).or_exit(Exit::Internal)?;
        json.push('\n');
        json
    } else {
        table(&named, &compared)
    };
    crate::score::print(&text)?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Report, Failed> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(name).or_exit(Exit::NoInput)?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{} is no report of jury eval", path.display()))
        .or_exit(Exit::BadData)?;
    if report.format != FORMAT {
        let problem = anyhow!("{}: format {}, this version reads {FORMAT}", name(), report.format);
        return Err(Failed::new(Exit::BadData, problem));
    }
    Ok(report)
}
