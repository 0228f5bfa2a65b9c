//! `jury eval compare`: compares reports by accuracy and cost.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use jury_eval::compare::{Row, png, rows, svg, table};
use jury_eval::report::{FORMAT, Report};
use jury_terminal::exit::{Exit, Failed, OrExit};

use super::files::write;
use crate::args::{CompareArgs, Refused};

/// Formats of a picture.
#[derive(Debug, Clone, Copy)]
enum Form {
    Svg,
    Png,
}

pub fn run(args: &CompareArgs) -> Result<Exit, Failed> {
    let with_form = |path| form_of(path).map(|form| (path, form));
    let picture = args.picture.as_deref().map(with_form).transpose().or_exit(Exit::Usage)?;
    let named: Vec<(String, Report)> = args
        .reports
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<_, Failed>>()?;
    let compared: Vec<Row> = rows(&named);
    if let Some((path, form)) = picture {
        let drawn = match form {
            Form::Svg => svg(&compared).map(String::into_bytes),
            Form::Png => png(&compared),
        };
        write(path, &drawn.or_exit(Exit::Internal)?)?;
    }
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

/// The format given by the file's extension.
fn form_of(path: &Path) -> Result<Form, Refused> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => Ok(Form::Svg),
        Some("png") => Ok(Form::Png),
        _ => Err(Refused::new("--picture", "must end in .svg or .png")),
    }
}

fn read(path: &Path) -> Result<Report, Failed> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(name).or_exit(Exit::NoInput)?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a report of jury eval", path.display()))
        .or_exit(Exit::BadData)?;
    if report.format != FORMAT {
        let problem =
            anyhow!("{}: is in format {}, this version reads {FORMAT}", name(), report.format);
        return Err(Failed::new(Exit::BadData, problem));
    }
    Ok(report)
}
