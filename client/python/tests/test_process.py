"""Forks, signals and ends of processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import jury

LONG = {"k": 32, "max_critique_tokens": 4096, "budget": 600}


def rewards_of(client: jury.Client, query: str) -> tuple[str, list[float | None]]:
    verdict = client.score(query, ["a", "b"])
    return verdict.run.request_id, verdict.rewards


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_client_that_was_used_goes_on_in_other_processes(tiny: jury.Client, method: str) -> None:
    here = rewards_of(tiny, "q")
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        there = list(pool.map(rewards_of, [tiny] * 12, ["q"] * 12))
    assert {str(rewards) for _, rewards in there} == {str(here[1])}
    ids = {request_id for request_id, _ in there} | {here[0]}
    assert len(ids) == 13, "no two calls share a request id"


def test_a_fork_in_the_middle_of_calls_harms_neither_side(tiny: jury.Client) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def keep_calling() -> None:
        try:
            while not stop.is_set():
                tiny.score("parent", ["a"])
        except BaseException as error:
            failed.append(error)

    callers = [threading.Thread(target=keep_calling) for _ in range(4)]
    for caller in callers:
        caller.start()
    unfinished = tiny.score_many((f"item {n}", ["a"]) for n in range(50))
    next(unfinished)
    for _ in range(8):
        child = os.fork()
        if child == 0:
            del unfinished
            scored = tiny.score("child", ["a"]).rewards[0] is not None
            os._exit(0 if scored else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    for caller in callers:
        caller.join()
    assert failed == []
    assert len(list(unfinished)) == 49


def run(script: str, start_new_session: bool = False, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
        start_new_session=start_new_session,
    )


def test_ctrl_c_ends_a_waiting_call(judge: jury.Client) -> None:
    child = run(
        f"""
        import jury, threading, time
        client = jury.Client({judge.address!r})
        # Requests of earlier tests may be on their way out: what is running after them is this one.
        while client.status().requests_running > 0:
            pass
        def tell():
            while client.status().requests_running == 0:
                pass
            print("waiting", flush=True)
        threading.Thread(target=tell).start()
        try:
            client.score("q", ["a"], k=32, max_critique_tokens=4096, budget=600)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert child.wait() == 0
    while judge.status().requests_running > 0:
        pass


def test_ctrl_c_at_a_terminal_leaves_the_local_judge_for_the_next_call(tiny_model: str) -> None:
    child = run(
        f"""
        import jury, threading
        with jury.local({tiny_model!r}) as judge:
            def tell():
                while judge.status().requests_running == 0:
                    pass
                print("waiting", flush=True)
            threading.Thread(target=tell).start()
            try:
                judge.score("q", ["a"], k=32, max_critique_tokens=4096, budget=600)
            except KeyboardInterrupt:
                print(judge.score("q", ["a"], k=1, max_critique_tokens=1, min_readout_mass=0).rewards[0], flush=True)
        """,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "waiting\n"
    # As a terminal and Jupyter do: to every process of the group.
    os.killpg(child.pid, signal.SIGINT)
    assert 1 <= float(child.stdout.readline()) <= 10
    assert child.wait() == 0


def test_a_local_judge_reports_how_far_its_model_is(tiny_model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with jury.local(tiny_model):
        assert "loading" in capfd.readouterr().err
    binary = tmp_path / "jury"
    lines = [
        '{"level": "INFO", "message": "fetching a-model, 12 % of 1.1 GB", "target": "jury_terminal::meter"}',
        '{"level": "WARN", "message": "beware", "target": "jury_engine::engine"}',
        '{"level": "INFO", "message": "detail", "target": "jury_engine::engine"}',
        "a line of words",
    ]
    binary.write_text("#!/bin/sh\ncat >&2 <<'END'\n" + "\n".join(lines) + "\nEND\nexit 4\n")
    binary.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JURY_BINARY", str(binary))
        with pytest.raises(jury.LocalError, match="exit code 4"):
            jury.local("a-model")
    assert capfd.readouterr().err == "fetching a-model, 12 % of 1.1 GB\nbeware\na line of words\n"


def test_an_interpreter_ends_with_calls_on_their_way(judge: jury.Client) -> None:
    child = run(
        f"""
        import asyncio, jury, threading
        client = jury.Client({judge.address!r}, k=32, max_critique_tokens=2048, budget=600)
        threading.Thread(target=lambda: client.score("q", ["a"]), daemon=True).start()
        many = client.score_many([("q", ["a"])] * 3)
        async def main():
            calls = [asyncio.ensure_future(client.ascore("q", ["a"])) for _ in range(3)]
            while (await client.astatus()).requests_running == 0:
                await asyncio.sleep(0.01)
        asyncio.run(main())
        """
    )
    _, errors = child.communicate()
    assert child.returncode == 0, errors


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_local_judge_ends_with_its_block(tiny_model: str) -> None:
    with jury.local(tiny_model) as judge:
        process = judge._process.pid
        while judge.status().workers[0].state != "ready":
            pass
        assert alive(process)
    assert not alive(process)


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), signal.SIGKILL)", "raise SystemExit(3)"])
def test_a_local_judge_ends_however_python_does(tiny_model: str, ending: str) -> None:
    child = run(
        f"""
        import jury, os, signal
        judge = jury.local({tiny_model!r})
        print(judge._process.pid, flush=True)
        {ending}
        """
    )
    output, _ = child.communicate()
    while alive(int(output)):
        pass


def test_a_forked_child_does_not_keep_the_judge_of_a_parent_that_is_killed(tiny_model: str) -> None:
    child = run(
        f"""
        import jury, os, signal
        judge = jury.local({tiny_model!r})
        reads, writes = os.pipe()
        forked = os.fork()
        if forked == 0:
            os.write(writes, b"here")
            signal.pause()
        os.read(reads, 4)
        print(judge._process.pid, forked, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert child.stdout is not None
    judge, forked = map(int, child.stdout.readline().split())
    try:
        while alive(judge):
            pass
        assert alive(forked)
    finally:
        os.kill(forked, signal.SIGKILL)
    child.wait()


def test_a_judge_that_does_not_start_says_why(tmp_path: object) -> None:
    with pytest.raises(jury.LocalError, match="no-such-model"):
        jury.local("no-such-model")


def test_a_process_forked_from_its_owner_leaves_the_judge_alone(tiny: jury.LocalClient) -> None:
    child = os.fork()
    if child == 0:
        tiny.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert tiny.status().workers
