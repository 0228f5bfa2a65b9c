"""Starts processes, and ends them whatever happens."""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

# A machine that compiles at the same time is slow.
PATIENCE_SECONDS = 300


class Processes:
    """Processes by name, each with an output file that is kept if something went wrong."""

    def __init__(self):
        self.running: dict[str, subprocess.Popen] = {}
        self.keep_logs = False
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="jury-deploy-test."))

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.running.values():
            process.wait()
        if error is None and not self.keep_logs:
            shutil.rmtree(self.folder)

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen:
        with open(self.folder / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        return self.running[name]

    def wait_for(self, happens, what: str):
        """Polls until `happens()` is true and raises nothing."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            error = None
            try:
                if result := happens():
                    return result
            except Exception as raised:  # whatever it is, it may pass
                error = raised
            if time.monotonic() > until:
                raise TimeoutError(f"waited for {what}: {error}; logs are in {self.folder}")
            time.sleep(0.2)


def free_ports(n: int) -> list[int]:
    """Ports on which nothing listens at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [one.getsockname()[1] for one in sockets]
