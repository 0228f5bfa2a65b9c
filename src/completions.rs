//! `jury completions`.

use clap::CommandFactory;
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::page::print;

use crate::args::{Args, CompletionsArgs};

pub fn run(args: &CompletionsArgs) -> Result<Exit, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "jury", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
