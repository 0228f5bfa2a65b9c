"""The reward function in the process pool of the installed AReaL, and the workflow that needs none."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import jury
from jury.trainers import Unscored
from jury.trainers.areal import RewardFunction

pytest.importorskip("areal")

TOO_LONG = "r" * 9000


def test_the_pool_gets_the_reward_or_the_exception_and_never_a_silent_0(tiny: jury.Client) -> None:
    from areal.api.reward_api import AsyncRewardWrapper

    async def main() -> None:
        wrapper = AsyncRewardWrapper(RewardFunction(tiny), max_workers=1, max_retries=1)
        given = await wrapper("p", "one", [1], [2], answer="4")
        assert given == tiny.score("p", ["one"]).rewards[0]
        with pytest.raises(Unscored, match="too_long"):
            await wrapper("p", TOO_LONG, [1], [2])

    asyncio.run(main())


class Engine:
    """Writes " four" and ends its turn."""

    def __init__(self, tokenizer: Any) -> None:
        self.ids = tokenizer.encode(" four</s>", add_special_tokens=False)

    async def agenerate(self, request: Any) -> Any:
        n_tokens = len(self.ids)
        return SimpleNamespace(
            input_tokens=request.input_ids, output_tokens=self.ids, output_logprobs=[0.0] * n_tokens,
            output_versions=[0] * n_tokens, input_len=len(request.input_ids), output_len=n_tokens,
        )


def workflow_and_engine(**options: Any) -> tuple[Any, Engine]:
    from areal.api.cli_args import GenerationHyperparameters

    from jury.trainers.areal_workflow import JuryWorkflow

    from .test_trl import policy

    _, tokenizer = policy()
    workflow = JuryWorkflow(
        GenerationHyperparameters(), tokenizer, end_tokens=["</s>"],
        get_input_ids_fn=lambda text, reader, _: reader.encode(text, add_special_tokens=False), **options,
    )
    return workflow, Engine(tokenizer)


def test_rollouts_of_the_workflow_are_rewarded_all_at_once_and_in_no_process_pool(
    tiny: jury.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from areal.api.reward_api import AsyncRewardWrapper

    monkeypatch.setattr(AsyncRewardWrapper, "_executors", {})
    workflow, engine = workflow_and_engine(address=tiny)

    async def main() -> list[float]:
        episodes = [workflow.arun_episode(engine, {"messages": "two and two?", "prompt": "p"}) for _ in range(64)]
        return [float(episode["rewards"]) for episode in await asyncio.gather(*episodes)]

    expected = tiny.score("two and two?", [" four"]).rewards[0]
    assert expected is not None and asyncio.run(main()) == [pytest.approx(expected)] * 64
    assert AsyncRewardWrapper._executors == {}


def test_a_rollout_of_the_workflow_without_a_reward_is_rejected_or_has_the_fallback(tiny: jury.Client) -> None:
    workflow, engine = workflow_and_engine(address=tiny)
    with pytest.raises(Unscored, match="too_long"):
        asyncio.run(workflow.arun_episode(engine, {"messages": TOO_LONG}))
    workflow, engine = workflow_and_engine(address=tiny, fallback=2.5)
    assert float(asyncio.run(workflow.arun_episode(engine, {"messages": TOO_LONG}))["rewards"]) == 2.5
