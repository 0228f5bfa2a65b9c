//! A shell that waits for the end of this process and then kills a program. It reads from a pipe whose other end we
//! hold and never write to: the read ends when this process ends, even by SIGKILL.

use std::io;
use std::process::Stdio;

use tokio::process::{Child, Command};

/// The shell ignores signals that could end it before us.
const SCRIPT: &str = "trap '' HUP INT TERM; read -r _; kill -9 \"$1\"";

/// Watches over one program.
#[derive(Debug)]
pub struct Guard {
    /// Holds our end of the pipe.
    shell: Child,
}

// === impl Guard ===

impl Guard {
    /// Guards the program with this process id. Must be called inside a tokio runtime.
    pub fn of(pid: u32) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Call this when a program has ended: its process id may soon belong to another process.
    pub async fn end(mut self) {
        drop(self.shell.kill().await);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn endless() -> Child {
        Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_program_is_killed_when_nobody_holds_the_pipe_any_more() {
        let mut program = endless();
        let mut guard = Guard::of(program.id().unwrap()).unwrap();
        drop(guard.shell.stdin.take());
        assert_eq!(program.wait().await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn a_guard_that_is_ended_kills_nobody() {
        let mut program = endless();
        Guard::of(program.id().unwrap()).unwrap().end().await;
        assert_eq!(program.try_wait().unwrap(), None);
        program.kill().await.unwrap();
    }
}
