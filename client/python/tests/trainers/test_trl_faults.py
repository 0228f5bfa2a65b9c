"""A training goes on while its judges fail, and no reward is made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import jury
from jury.trainers.trl import reward_function

from .cluster import Cluster
from .test_trl import train

pytest.importorskip("trl")

STEPS = 4
PROMPTS = ["Name a colour.", "What is two and two?"] * STEPS

Faults = dict[int, Callable[[Cluster], None]]


@dataclass
class Training:
    """What one training saw: each step's rewards and verdicts, and the fleet after the last."""

    rewards: list[list[float | None]] = field(default_factory=list)
    verdicts: list[list[jury.Verdict]] = field(default_factory=list)
    worker_states: list[str] = field(default_factory=list)

    def reissued(self) -> list[int]:
        """How many samples of each step were drawn again on another worker."""
        return [sum(verdict.run.reissued for verdict in verdicts) for verdicts in self.verdicts]

    def workers(self) -> list[int]:
        """How many workers drew each step's samples."""
        return [len({worker for verdict in verdicts for worker in verdict.run.workers}) for verdicts in self.verdicts]


def trained(folder: Path, faults: Faults) -> Training:
    """A training in which a fault happens while its step is being judged."""
    seen = Training()

    class Watched(jury.Client):
        def score_many(self, *arguments: Any, **more: Any) -> Iterator[jury.Answer]:
            for answer in super().score_many(*arguments, **more):
                if answer.verdict is not None:
                    seen.verdicts[-1].append(answer.verdict)
                yield answer

    with Cluster("smollm2-135m") as cluster:
        judge = reward_function(Watched(cluster.address, k=4, max_critique_tokens=24))

        def strike(fault: Callable[[Cluster], None]) -> None:
            cluster.wait_until_drawing()
            fault(cluster)

        def reward(**columns: Any) -> list[float | None]:
            fault = faults.get(len(seen.rewards))
            striking = None if fault is None else threading.Thread(target=strike, args=(fault,))
            seen.verdicts.append([])
            if striking is not None:
                striking.start()
            rewards = judge(**columns)
            if striking is not None:
                striking.join()
            seen.rewards.append(rewards)
            print(f"step {len(seen.rewards)}: {rewards}")
            return rewards

        trainer = train(reward, PROMPTS, folder, steps=STEPS)
        for told in trainer.state.log_history:
            print({key: told[key] for key in told if key.startswith(("jury", "reward"))})
        seen.worker_states = [cluster.worker(index).state for index in range(2)]
    print(f"samples drawn again: {seen.reissued()}, workers: {seen.workers()}, at the end {seen.worker_states}")
    return seen


def test_rewards_are_the_same_with_a_worker_killed_and_the_coordinator_restarted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def times_away() -> int:
        return sum("judged again" in message for message in caplog.messages)

    def kill_a_worker(cluster: Cluster) -> None:
        cluster.workers[0].kill()

    def restart_the_coordinator(cluster: Cluster) -> None:
        def until_it_is_missed() -> None:
            while times_away() == 0:
                time.sleep(0.01)

        cluster.restart_coordinator(until_it_is_missed)

    calm = trained(tmp_path / "calm", {})
    assert len(calm.rewards) == STEPS and all(len(rewards) == 8 for rewards in calm.rewards)
    assert all(reward is not None for rewards in calm.rewards for reward in rewards)
    assert len({reward for rewards in calm.rewards for reward in rewards}) > STEPS
    assert (calm.reissued(), times_away()) == ([0] * STEPS, 0) and max(calm.workers()) == 2
    assert calm.worker_states == ["ready", "ready"]

    # The coordinator is killed first, so that two workers are there to be missed.
    stormy = trained(tmp_path / "stormy", {1: restart_the_coordinator, 2: kill_a_worker})
    assert stormy.rewards == calm.rewards
    assert times_away() >= 1, "the coordinator was missed"
    assert stormy.reissued()[2] >= 1, "the killed worker had samples"
    assert stormy.workers()[3] == 1 and stormy.worker_states[0] != "ready", "it is gone"
    assert stormy.worker_states[1] == "ready"
