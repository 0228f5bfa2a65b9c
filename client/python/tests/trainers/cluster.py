"""A cluster of processes on this machine, whose parts a test may kill."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import jury
from jury.local import find_binary

from ..conftest import SHORT_TEMPLATE, make_tiny_model


class Part:
    """A `jury worker` or `jury coordinator` that listens."""

    def __init__(self, *arguments: str) -> None:
        command = [str(find_binary()), *arguments, "--stop-with-stdin", "--log-format", "json"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "JURY_LOG": "info"}
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{") and json.loads(line).get("message") == "listening":
                break
        else:
            raise RuntimeError(f"{command} did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Cluster:
    """A coordinator and two workers of one model."""

    def __init__(self, model: str) -> None:
        ports = [free_port() for _ in range(3)]
        self.address = f"127.0.0.1:{ports[0]}"
        at_ports = [f"127.0.0.1:{port}" for port in ports[1:]]
        self.workers = [Part("worker", "--listen", at, "--model", model, "--threads", "1") for at in at_ports]
        self.worker_addresses = [f"http://{at}" for at in at_ports]
        listed = [option for address in self.worker_addresses for option in ("--worker", address)]
        self._coordinator = ("coordinator", "--listen", self.address, *listed)
        self.coordinator = Part(*self._coordinator)

    def restart_coordinator(self, meanwhile: Callable[[], None]) -> None:
        """Kills the coordinator and starts another one at its address, after ``meanwhile``."""
        self.coordinator.kill()
        meanwhile()
        self.coordinator = Part(*self._coordinator)

    def worker(self, index: int) -> jury.Worker:
        """What the coordinator says of a worker."""
        fleet = jury.Client(self.address).status()
        (worker,) = (one for one in fleet.workers if one.address == self.worker_addresses[index])
        return worker

    def wait_until_drawing(self) -> None:
        """Returns once the first worker draws samples."""
        while self.worker(0).running == 0:
            pass

    def __enter__(self) -> Cluster:
        client = jury.Client(self.address)
        while any(worker.state != "ready" for worker in client.status().workers):
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in (self.coordinator, *self.workers):
            part.kill()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def http_judge(
    folder: Path, context_tokens: int = 640, **settings: Any
) -> Iterator[tuple[jury.LocalClient, str]]:
    """A judge with a door for HTTP, and that door's URL."""
    door = f"127.0.0.1:{free_port()}"
    options = ["--template", SHORT_TEMPLATE, "--http", door]
    model = make_tiny_model(folder / "tiny", context_tokens)
    with jury.local(model, options=options, **settings) as judge:
        yield judge, f"http://{door}"
