//! `jury completions`.

use std::io::Write;

use clap::CommandFactory;
use jury_terminal::exit::{Exit, Failed, OrExit};

use crate::args::{Args, CompletionsArgs};

pub fn run(args: &CompletionsArgs) -> Result<Exit, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "jury", &mut script);
    std::io::stdout().write_all(&script).or_exit(Exit::CannotWrite)?;
    Ok(Exit::Done)
}
