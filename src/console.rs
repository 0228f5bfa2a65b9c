//! The web console, if --console-listen is given.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use jury_console::{Board, Limits, Reach};
use jury_coordinator::Coordinator;
use jury_coordinator::observe::Observer;
use jury_coordinator::tenants::Tenants;
use jury_fabric::tls::ServerTls;
use jury_fabric::transport::{TlsListener, bind_all};
use jury_terminal::exit::{Exit, Failed, OrExit};
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::args::ConsoleArgs;
use crate::serving::keep_serving;
use crate::tls::Listening;

/// The sockets and the state of the console; `None` without --console-listen.
pub struct ConsoleSocket(Option<Parts>);

struct Parts {
    listeners: Vec<TcpListener>,
    tls: Option<ServerTls>,
    board: Arc<Board>,
}

// === impl ConsoleSocket ===

impl ConsoleSocket {
    /// Binds the address; fails at once if it is in use.
    pub async fn bind(
        args: &ConsoleArgs,
        tls: &Listening,
        tenants: &Tenants,
    ) -> Result<Self, Failed> {
        let Some(address) = &args.console_listen else { return Ok(Self(None)) };
        let bound = bind_all(address).await.context("--console-listen");
        let board = Arc::new(Board::new(Limits::of(args.keep_verdicts), tenants.clone()));
        let listeners = bound.or_exit(Exit::Unavailable)?;
        Ok(Self(Some(Parts { listeners, tls: tls.main.clone(), board })))
    }

    /// The observer of requests while they are judged.
    pub fn observer(&self) -> Option<Arc<dyn Observer>> {
        let board: Arc<dyn Observer> = Arc::clone(&self.0.as_ref()?.board) as _;
        Some(board)
    }

    /// Serves the page until the process ends, also during the drain, when operators need it.
    pub fn serve(self, coordinator: &Coordinator) -> Result<(), Failed> {
        let Some(Parts { listeners, tls, board }) = self.0 else { return Ok(()) };
        for listener in listeners {
            let address = listener.local_addr().or_exit(Exit::Internal)?;
            info!(%address, "console listening");
            if !address.ip().is_loopback() {
                warn_of_others(address, coordinator.wants_tokens(), tls.is_some());
            }
            let (coordinator, board) = (coordinator.clone(), board.clone());
            match tls.clone() {
                None => {
                    let page = jury_console::serve(coordinator, board, Reach::Plain, listener);
                    keep_serving("console", page);
                }
                Some(tls) => {
                    let listener = TlsListener::http(listener, tls).or_exit(Exit::Internal)?;
                    let page = jury_console::serve(coordinator, board, Reach::Tls, listener);
                    keep_serving("console", page);
                }
            }
        }
        Ok(())
    }
}

/// Warns that the console can be reached from other machines without TLS or without tokens.
fn warn_of_others(address: SocketAddr, wants_tokens: bool, has_tls: bool) {
    match (wants_tokens, has_tls) {
        (false, _) => warn!(
            %address,
            "anyone who can reach the console sees every request and verdict: set --tenants, or listen on a loopback address and \
             forward the port"
        ),
        (true, false) => warn!(
            %address,
            "tokens and texts are sent to and from the console unencrypted: serve it over TLS (--tls-cert), or forward the port"
        ),
        (true, true) => {}
    }
}
