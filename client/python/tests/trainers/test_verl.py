"""Reward function and manager, loaded and called by the installed verl's own code."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import jury
from jury.trainers import Unscored

pytest.importorskip("verl")

from .test_trl import TOO_LONG, policy, small  # noqa: E402

__all__ = ["small"]


def manager(reward: dict[str, Any]) -> Any:
    """What verl's loader makes of a configuration."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import load_reward_manager

    config = OmegaConf.create({"reward": {"sandbox_fusion": None, **reward}})
    _, tokenizer = policy()
    return load_reward_manager(config, tokenizer)


def options(client: jury.Client, **more: Any) -> dict[str, Any]:
    scale = {"min": 1, "max": 10}
    return {"address": client.address, "k": 2, "max_critique_tokens": 4, "min_readout_mass": 0, "scale": scale, "patience": 0, **more}


def by_function(client: jury.Client, **more: Any) -> Any:
    function = {"path": "pkg://jury.trainers.verl", "name": "compute_score"}
    return manager(
        {
            "custom_reward_function": {**function, "reward_kwargs": options(client, **more)},
            "reward_manager": {"source": "register", "name": "naive"},
        }
    )


def by_manager(client: jury.Client, **more: Any) -> Any:
    chosen = {"source": "importlib", "name": "JuryRewardManager", "module": {"path": "pkg://jury.trainers.verl_manager"}}
    return manager({"custom_reward_function": {"reward_kwargs": options(client, **more)}, "reward_manager": chosen})


def run(manager: Any, *outputs: tuple[str, str]) -> dict[str, Any]:
    """One trajectory of prompts and responses, in the form in which verl's agent loop sends it: padded, a row for each output."""
    import numpy
    import torch
    from tensordict import TensorDict
    from verl import DataProto

    def padded(texts: list[str], left: bool) -> tuple[Any, Any]:
        ids = [manager.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        longest = max(map(len, ids))
        fill = [[0] * (longest - len(row)) for row in ids]
        tokens = [gap + row if left else row + gap for row, gap in zip(ids, fill, strict=True)]
        ones = [gap + [1] * len(row) if left else [1] * len(row) + gap for row, gap in zip(ids, fill, strict=True)]
        return torch.tensor(tokens), torch.tensor(ones)

    prompts, of_prompts = padded([prompt for prompt, _ in outputs], left=True)
    responses, of_responses = padded([response for _, response in outputs], left=False)
    mask = torch.cat([of_prompts, of_responses], dim=1)
    batch = TensorDict({"prompts": prompts, "responses": responses, "attention_mask": mask}, batch_size=len(outputs))

    def column(values: list[Any]) -> Any:
        cells = numpy.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            cells[row] = value
        return cells

    asked = [prompt for prompt, _ in outputs]
    columns = {
        "data_source": column(["mine"] * len(outputs)),
        "reward_model": column([{"ground_truth": "4"}] * len(outputs)),
        "extra_info": column([{"question": prompt} for prompt in asked]),
        "raw_prompt": column([[{"role": "user", "content": prompt}] for prompt in asked]),
        "__num_turns__": column([2] * len(outputs)),
    }
    data = DataProto(batch=batch, non_tensor_batch=columns)
    result: dict[str, Any] = manager.loop.run_until_complete(manager.run_single(data))
    return result


@pytest.fixture(autouse=True)
def event_loop_of_verl() -> Any:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest.mark.parametrize("make", [by_function, by_manager])
def test_a_response_gets_its_score_and_the_same_numbers(small: jury.Client, make: Any) -> None:
    told = run(make(small), ("two and two?", "four"))
    expected = small.score("two and two?", ["four"]).rewards[0]
    assert told["reward_score"] == told["reward_extra_info"]["score"] == expected
    assert told["reward_extra_info"]["valid"] == 1.0
    assert all(isinstance(value, float) for value in told["reward_extra_info"].values())


@pytest.mark.parametrize("make", [by_function, by_manager])
def test_what_is_unscored_raises_or_takes_the_fallback_with_the_same_keys(small: jury.Client, make: Any) -> None:
    with pytest.raises(Unscored, match="too_long"):
        run(make(small), (TOO_LONG, "four"))
    told = run(make(small, fallback=-1.0), (TOO_LONG, "four"))
    assert told["reward_score"] == -1.0 and told["reward_extra_info"]["valid"] == 0.0
    scored = run(make(small), ("two and two?", "four"))
    assert told["reward_extra_info"].keys() == scored["reward_extra_info"].keys()


@pytest.mark.parametrize("make", [by_function, by_manager])
def test_of_several_outputs_the_last_is_judged(small: jury.Client, make: Any) -> None:
    first, last = ("two and two?", "four"), ("three and five, and nothing else?", "it is eight")
    alone = [run(make(small), output)["reward_score"] for output in (first, last)]
    assert alone[0] != alone[1]
    assert [run(make(small), first, last)["reward_score"], run(make(small), last, first)["reward_score"]] == alone[::-1]


def test_the_ground_truth_is_judged_with_only_when_asked(small: jury.Client) -> None:
    without = run(by_manager(small), ("two and two?", "four"))
    with_it = run(by_manager(small, use_ground_truth=True), ("two and two?", "four"))
    assert without["reward_score"] != with_it["reward_score"]
