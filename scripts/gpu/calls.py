"""Runs other programs, each with a time limit, and describes failed steps."""

import json
import os
import signal
import subprocess
import time


class Missed(Exception):
    """A step has found out why it has no result."""


def call(command, seconds, log, env=None, echo=False):
    """The program's output. Its stderr, and all of the output if it fails, goes to the log."""
    command = [str(word) for word in command]
    with open(log, "ab") as errors:
        errors.write(f"\n$ {' '.join(command)}\n".encode())
        errors.flush()
        said = errors.tell()
        started = time.monotonic()
        child = subprocess.Popen(
            command, stdout=None if echo else subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL,
            start_new_session=True, env=os.environ | (env or {}),
        )
        try:
            out, _ = child.communicate(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            stop(child)
            raise Missed(f"{command[0]} was not done after {seconds:.0f} s: {tail(log, said)}") from None
        except BaseException:
            stop(child)
            raise
        if out:
            errors.write(out[-20_000:])
    if child.returncode != 0:
        took = time.monotonic() - started
        raise Missed(f"{command[0]} ended with {child.returncode} after {took:.1f} s: {tail(log, said)}")
    return (out or b"").decode(errors="replace")


def stop(child):
    """The child process and its descendants."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def tail(log, start=0, lines=6):
    """The end of a log from a byte offset on, as one line."""
    text = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in text[-lines:])[-1500:] or "it said nothing"


def json_of(text):
    """The last line that is a JSON object, or the whole text as one."""
    for line in reversed(text.splitlines()):
        if line.startswith("{") and line.rstrip().endswith("}"):
            return json.loads(line)
    try:
        return json.loads(text)
    except ValueError:
        raise Missed(f"no JSON in {text[-300:]!r}") from None
