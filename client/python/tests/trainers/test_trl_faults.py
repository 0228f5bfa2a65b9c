"""A training goes on while its judges fail, and no reward is made up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jury.trainers.trl import reward_function

from .cluster import Cluster
from .test_trl import train

pytest.importorskip("trl")

STEPS = 4
PROMPTS = ["Name a colour.", "What is two and two?"] * STEPS

Faults = dict[int, Callable[[Cluster], None]]


def kill_a_worker(cluster: Cluster) -> None:
    cluster.workers[0].kill()


def restart_the_coordinator(cluster: Cluster) -> None:
    cluster.restart_coordinator()


def rewards_of_a_training(folder: Path, faults: Faults) -> list[list[float | None]]:
    """Rewards of every step; a fault happens while its step is being judged."""
    steps: list[list[float | None]] = []
    with Cluster("smollm2-135m") as cluster:
        judge = reward_function(cluster.address, k=4, max_critique_tokens=24)

        def strike(fault: Callable[[Cluster], None]) -> None:
            cluster.wait_until_judging()
            fault(cluster)

        def reward(**columns: Any) -> list[float | None]:
            fault = faults.get(len(steps))
            striking = None if fault is None else threading.Thread(target=strike, args=(fault,))
            if striking is not None:
                striking.start()
            rewards = judge(**columns)
            if striking is not None:
                striking.join()
            steps.append(rewards)
            print(f"step {len(steps)}: {rewards}")
            return rewards

        trainer = train(reward, PROMPTS, folder, steps=STEPS)
        for told in trainer.state.log_history:
            print({key: told[key] for key in told if key.startswith(("jury", "reward"))})
    return steps


def test_rewards_are_the_same_with_a_worker_killed_and_the_coordinator_restarted(tmp_path: Path) -> None:
    calm = rewards_of_a_training(tmp_path / "calm", {})
    assert len(calm) == STEPS and all(len(rewards) == 8 for rewards in calm)
    assert all(reward is not None for rewards in calm for reward in rewards)
    assert len({reward for rewards in calm for reward in rewards}) > STEPS
    faults: Faults = {1: kill_a_worker, 2: restart_the_coordinator}
    assert rewards_of_a_training(tmp_path / "stormy", faults) == calm
