"""The reward function, loaded and called by the installed OpenRLHF's own executor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jury

pytest.importorskip("openrlhf")

from .test_trl import TOO_LONG, policy, small  # noqa: E402

__all__ = ["small"]


def rollout(client: jury.Client, folder: Path, prompt: str, options: str = "") -> dict[str, Any]:
    """A rollout whose engine writes " four" and ends its turn."""
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    file = folder / "reward.py"
    file.write_text(
        "from jury.trainers.openrlhf import make_reward_func\n"
        f"reward_func = make_reward_func({client.address!r}, k=2, max_critique_tokens=4, min_readout_mass=0,\n"
        f"    patience=0, end_tokens=['</s>'], {options})\n"
    )
    _, tokenizer = policy()

    class Engine:
        async def generate(self, prompt_ids: Any, parameters: Any, **_: Any) -> Any:
            ids = tokenizer.encode(" four</s>", add_special_tokens=False)
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)])

    executor = SingleTurnAgentExecutor(str(file))
    parameters = SimpleNamespace(max_tokens=8, logprobs=None)
    execute = executor.execute(prompt, "4", parameters, 4096, tokenizer, Engine())
    result: dict[str, Any] = asyncio.run(execute)
    return result


def test_the_response_behind_the_prompt_is_judged(small: jury.Client, tmp_path: Path) -> None:
    told = rollout(small, tmp_path, "two and two?")
    expected = small.score("two and two?", [" four"]).rewards[0]
    assert float(told["reward"]) == pytest.approx(expected)
    assert expected is not None
    assert float(told["scores"]) == pytest.approx((expected - 1) / 9), "its place on 0 to 1, by which groups are filtered"
    assert float(told["extra_logs"]["valid"]) == 1.0


def test_what_is_unscored_has_no_reward_or_the_fallback(small: jury.Client, tmp_path: Path) -> None:
    assert rollout(small, tmp_path, TOO_LONG)["reward"] is None
    assert float(rollout(small, tmp_path, TOO_LONG, "fallback=-1.0")["reward"]) == -1.0
