//! The `jury` binary: one file per subcommand, no logic of the method.
//!
//! ```text
//! args     the command line
//! score    one item or a batch, for a person or a machine
//! eval     how accuracy grows with k
//! train    judges (rft, rl), Meta RMs, merging of adapters, export to other trainers
//! up, coordinator, worker     servers
//! models, status, tenants, health, plan, completions, doctor
//! ```

mod args;
mod completions;
mod console;
mod coordinator;
mod doctor;
mod eval;
mod heads;
mod health;
mod models;
mod plan;
mod score;
mod serving;
mod signals;
mod status;
mod telemetry;
mod tenants;
mod tls;
mod train;
mod up;
mod worker;

use std::process::ExitCode;

use clap::error::ErrorKind;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::{is_unread, note};

use self::args::{Args, Command};

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are not errors.
            if error.use_stderr()
                && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            {
                note(args::refusal(&error));
                return Exit::Usage.into();
            }
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            drop(error.print());
            return exit.into();
        }
    };
    match run(args) {
        Ok(exit) => exit.into(),
        Err(failed) if is_unread(&failed) => Exit::Done.into(),
        Err(failed) => {
            note(format_args!("jury: {}", failed.message()));
            failed.exit.into()
        }
    }
}

fn run(args: Args) -> Result<Exit, Failed> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().or_exit(Exit::Internal)?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::start(&args)?
    };
    let ended = runtime.block_on(async {
        match args.command {
            Command::Score(args) => score::run(*args).await,
            Command::Eval(args) => eval::run(*args).await,
            Command::Train(args) => train::run(args).await,
            Command::Up(args) => up::run(args).await,
            Command::Coordinator(args) => coordinator::run(args).await,
            Command::Worker(args) => worker::run(args).await,
            Command::Models(args) => models::run(args),
            Command::Status(args) => status::run(args).await,
            Command::Tenants(args) => tenants::run(&args),
            Command::Health(args) => health::run(args).await,
            Command::Plan(args) => plan::run(&args),
            Command::Doctor(args) => doctor::run(args).await,
            Command::Bench(args) => jury_bench::run(args).await,
            Command::Completions(args) => completions::run(&args),
        }
    });
    telemetry.finish();
    // An embedded engine may be in the middle of a step whose result is no longer needed.
    runtime.shutdown_background();
    ended
}
