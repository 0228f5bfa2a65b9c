//! `jury health`, for health checks of containers.

use jury_fabric::transport::is_serving;
use jury_terminal::exit::{Exit, Failed, OrExit};

use crate::args::HealthArgs;
use crate::score::print;
use crate::tls::connector_to;

pub async fn run(args: HealthArgs) -> Result<Exit, Failed> {
    let connector = connector_to(&args.endpoint, &args.tls)?;
    let channel = connector.connect(&args.endpoint).or_exit(Exit::Usage)?;
    match is_serving(channel, args.timeout).await {
        Ok(true) => {
            print("serving\n")?;
            Ok(Exit::Done)
        }
        Ok(false) => {
            let error = anyhow::anyhow!("{} does not accept new work", args.endpoint);
            Err(Failed::new(Exit::Unavailable, error))
        }
        Err(status) => {
            let error = anyhow::anyhow!("no answer from {}: {status}", args.endpoint);
            Err(Failed::new(Exit::Unavailable, error))
        }
    }
}
