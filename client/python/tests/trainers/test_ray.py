"""A client in actors of the installed Ray, whose own gRPC and protobuf are in the same process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jury

ray: Any = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    folder = str(Path(jury.__file__).parents[1])
    # Without a dashboard, which would look at the network.
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": folder}})
    yield
    ray.shutdown()


def test_actors_call_with_a_client_that_was_sent_and_with_one_of_their_own(cluster: None, tiny: jury.Client) -> None:
    expected = [tiny.score("q", ["a", "b"]).rewards] * 4
    settings: dict[str, Any] = {"k": 1, "max_critique_tokens": 1, "min_readout_mass": 0}

    class Actor:
        def __init__(self, client: jury.Client | None, address: str) -> None:
            self._client = client or jury.Client(address, **settings)

        def score(self) -> tuple[int, list[float | None]]:
            return os.getpid(), self._client.score("q", ["a", "b"]).rewards

        def gather(self) -> list[list[float | None]]:
            async def main() -> list[jury.Verdict]:
                return await asyncio.gather(*(self._client.ascore("q", ["a", "b"]) for _ in range(4)))

            return [verdict.rewards for verdict in asyncio.run(main())]

    # The client that is sent has been used here: it connects anew there.
    sent, own = (ray.remote(Actor).remote(client, tiny.address) for client in (tiny, None))
    told = ray.get([sent.score.remote(), own.score.remote()])
    assert [rewards for _, rewards in told] == expected[:2]
    assert len({process for process, _ in told} | {os.getpid()}) == 3
    assert ray.get([sent.gather.remote(), own.gather.remote()]) == [expected, expected]
