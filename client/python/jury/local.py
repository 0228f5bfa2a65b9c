"""A judge on this machine, for as long as Python wants it."""

from __future__ import annotations

import atexit
import collections
import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .client import Client

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .request import JudgeSettings

DEFAULT_MODEL = "qwen2.5-coder-1.5b"
_GRACE_S = 5
_LINES_KEPT = 20
_PROGRESS = "::meter"
"""End of the target of log lines that report progress."""
_started: weakref.WeakSet[subprocess.Popen[str]] = weakref.WeakSet()
"""Judges of this process."""


class LocalError(RuntimeError):
    """The judge could not be started."""


class LocalClient(Client):
    """A client of a ``jury up`` that ends with it. Pickled, it becomes an ordinary client of the same judge."""

    def __init__(self, process: subprocess.Popen[str], address: str, settings: JudgeSettings) -> None:
        super().__init__(address, **settings)
        self._process = process
        self._owner = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the judge, and waits for it. Does nothing the second time, nor in a process that did not start it."""
        if os.getpid() == self._owner:
            atexit.unregister(self.close)
            _end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        again, (_, *where) = super().__reduce__()
        return again, (Client, *where)


def local(
    model: str = DEFAULT_MODEL,
    *,
    threads: int | None = None,
    options: Sequence[str] = (),
    **settings: Unpack[JudgeSettings],
) -> LocalClient:
    """Starts ``jury up`` on a free port and returns its client once it is ready.

    >>> with jury.local(model="smollm2-135m") as judge:
    ...     judge.score("What is 2 + 2?", ["4", "5"]).rewards

    The judge ends with the ``with`` block, with :meth:`LocalClient.close`, or with this process, even when that is
    killed. ``model`` is what ``jury up --model`` takes: a name of ``jury models list``, which is fetched the first time,
    or a file. ``options`` are further options of ``jury up``; settings are the defaults of every call.

    The binary is ``JURY_BINARY``, else one in this package's ``bin``, beside the interpreter, or on ``PATH``.
    Raises :class:`LocalError` with the last words of a judge that does not start.
    """
    command = [str(find_binary()), "up", "--listen", "127.0.0.1:0", "--model", model]
    command += ["--stop-with-stdin", "--grace", f"{_GRACE_S}s", "--log-format", "json", "--log", "info"]
    if threads is not None:
        command += ["--threads", str(threads)]
    process = subprocess.Popen(
        [*command, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Ctrl-C, which a terminal and Jupyter send to the whole group of processes, ends a call, and not the judge.
        start_new_session=True,
    )
    _started.add(process)
    try:
        return LocalClient(process, _Log(process).address(), settings)
    except BaseException:
        _end(process)
        raise


def find_binary() -> Path:
    """The ``jury`` binary. Raises LocalError where there is none."""
    named = os.environ.get("JURY_BINARY")
    if named:
        found = shutil.which(named)
        if found is None:
            raise LocalError(f"JURY_BINARY names no program: {named}")
        return Path(found)
    for folder in (Path(__file__).parent / "bin", Path(sys.executable).parent):
        if shutil.which("jury", path=str(folder)):
            return folder / "jury"
    found = shutil.which("jury")
    if found is None:
        raise LocalError("no jury binary: `cargo install --locked --path .` puts it on PATH, JURY_BINARY names it anywhere")
    return Path(found)


class _Log:
    """What the judge writes, read on a thread of its own so that it never blocks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._address: str | None = None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._told = threading.Event()
        threading.Thread(target=self._read, name="jury-log", daemon=True).start()

    def address(self) -> str:
        """Waits until the judge listens."""
        self._told.wait()
        if self._address is None:
            code = self._process.wait()
            words = "\n".join(self._last_lines)
            raise LocalError(f"the judge did not start (exit code {code}):\n{words}")
        return self._address

    def _read(self) -> None:
        assert self._process.stderr is not None
        try:
            for line in self._process.stderr:
                self._last_lines.append(line.rstrip())
                if self._address is None:
                    self._look_at(line)
        finally:
            self._told.set()

    def _look_at(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            print(line.rstrip(), file=sys.stderr)
            return
        if not isinstance(event, dict):
            return
        if event.get("message") == "listening":
            self._address = event["address"]
            self._told.set()
        elif str(event.get("target")).endswith(_PROGRESS) or event.get("level") in ("WARN", "ERROR"):
            # How far the fetching and loading of a model is, for the person who waits.
            print(event.get("message"), file=sys.stderr)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(timeout=_GRACE_S + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _leave_judges_to_the_parent() -> None:
    """In a child that was forked: the judge ends with its stdin, which this child must not hold open.

    The descriptor stays taken, so that whatever closes the file later closes nothing else.
    """
    for process in list(_started):
        if process.stdin is not None and not process.stdin.closed:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, process.stdin.fileno(), inheritable=False)
            os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_judges_to_the_parent)
