"""A thousand score calls at once from one asyncio process: jury-client beside a bare grpcio loop, in turns.

    pip install ./client/python grpcio grpcio-tools pytest
    python client/python/benches/concurrent_calls.py 127.0.0.1:7480

ADDRESS is a running `jury up` or `jury coordinator`; left out, one is started with the tiny random model of the tests (for them pytest),
whose judging takes next to nothing. Each side is a process of its own: its stubs and our package have the same name. The
first round is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60.0


async def _timed(calls: int, score: Any) -> dict[str, float]:
    """Starts all calls at once. ``score(n)`` tells whether its response got a reward."""
    took: list[float] = []

    async def one(number: int) -> bool:
        started = time.perf_counter()
        is_scored: bool = await score(number)
        took.append(time.perf_counter() - started)
        return is_scored

    started = time.perf_counter()
    scored = await asyncio.gather(*(one(number) for number in range(calls)))
    seconds = time.perf_counter() - started
    took.sort()
    return {
        "scored": sum(scored),
        "per_second": calls / seconds,
        "p50_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[min(len(took) - 1, len(took) * 99 // 100)],
    }


async def _by_client(address: str, calls: int) -> dict[str, float]:
    import jury

    client = jury.AsyncClient(address, k=1, max_critique_tokens=1, min_readout_mass=0, budget=TIMEOUT_S)

    async def score(number: int) -> bool:
        return (await client.score(f"question {number}", ["a"])).rewards[0] is not None

    return await _timed(calls, score)


async def _by_grpcio(address: str, calls: int) -> dict[str, float]:
    import grpc  # type: ignore[import-not-found, import-untyped, unused-ignore]
    from jury.v1 import reward_pb2, reward_pb2_grpc, types_pb2  # type: ignore[import-not-found, unused-ignore]

    settings = types_pb2.Settings(k=1, max_critique_tokens=1, min_readout_mass=0)
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = reward_pb2_grpc.RewardServiceStub(channel)

        async def score(number: int) -> bool:
            turn = types_pb2.Turn(role=types_pb2.ROLE_USER, content=f"question {number}")
            item = types_pb2.Item(query=[turn], responses=["a"])
            request = reward_pb2.ScoreRequest(item=item, settings=settings, budget_ms=int(1000 * TIMEOUT_S))
            answer = await stub.Score(request, timeout=TIMEOUT_S + 5)
            return bool(answer.verdict.rewards[0].HasField("value"))

        return await _timed(calls, score)


def _round(side: str, address: str, calls: int, stubs: str) -> dict[str, float]:
    path = [stubs] if side == "grpcio" else [str(REPOSITORY / "client/python")]
    path += [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    command = [sys.executable, "-P", __file__, address, "--calls", str(calls), "--side", side]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    told: dict[str, float] = json.loads(subprocess.check_output(command, env=environment))
    return told


def _stubs(folder: str) -> None:
    protos = sorted(str(file) for file in (REPOSITORY / "proto/jury/v1").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{REPOSITORY / 'proto'}"]
    subprocess.check_call([*command, f"--python_out={folder}", f"--grpc_python_out={folder}", *protos])


def _measure(address: str, calls: int, rounds: int) -> None:
    sides = ("jury-client", "grpcio")
    told: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as stubs:
        _stubs(stubs)
        for number in range(rounds + 1):
            for side in sides if number % 2 else reversed(sides):
                one = _round(side, address, calls, stubs)
                if number > 0:
                    told[side].append(one)
    print(f"{calls} calls at once, medians of {rounds} alternating rounds")
    for side in sides:
        middle = {key: statistics.median(one[key] for one in told[side]) for key in told[side][0]}
        print(
            f"{side:12} {middle['scored']:.0f} scored, {middle['per_second']:.0f} calls/s, "
            f"p50 {middle['p50_ms']:.0f} ms, p99 {middle['p99_ms']:.0f} ms"
        )


def _with_a_judge(calls: int, rounds: int) -> None:
    sys.path.insert(0, str(REPOSITORY / "client/python"))
    import jury
    from tests.conftest import SHORT_TEMPLATE, make_tiny_model

    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_model(Path(folder) / "tiny", 8192)
        with jury.local(model, options=["--template", SHORT_TEMPLATE]) as judge:
            _measure(judge.address, calls, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", help="of a running judge [default: one is started]")
    parser.add_argument("--calls", type=int, default=1000, help="calls at once [default: 1000]")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count [default: 5]")
    parser.add_argument("--side", choices=("jury-client", "grpcio"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        by = _by_client if options.side == "jury-client" else _by_grpcio
        print(json.dumps(asyncio.run(by(options.address, options.calls))))
    elif options.address is None:
        _with_a_judge(options.calls, options.rounds)
    else:
        _measure(options.address, options.calls, options.rounds)


if __name__ == "__main__":
    main()
