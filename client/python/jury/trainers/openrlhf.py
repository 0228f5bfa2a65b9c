"""OpenRLHF: a reward function in a Python file of yours, named by ``--reward.remote_url``.

>>> from jury.trainers.openrlhf import make_reward_func
>>> reward_func = make_reward_func("coordinator:7480", k=4)

OpenRLHF gives the whole text, special tokens included; the response is what follows the prompt. It cannot bear a missing
reward: it swallows the exception, and the training ends a little later, or trains on a batch without it. ``fallback`` is a
number for what is unscored; ``patience`` comes first, and there is no timeout of OpenRLHF's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge
from .rows import Row, Unscored, grouped, numbers, per_row, reward_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

PATIENCE_S = 600.0
END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "</s>")


def make_reward_func(
    client: Client | str | None = None,
    *,
    use_labels: bool = False,
    fallback: float | None = None,
    patience: float = PATIENCE_S,
    end_tokens: Sequence[str] = END_TOKENS,
    **settings: Unpack[Settings],
) -> Callable[..., dict[str, Any]]:
    """A ``reward_func(queries, prompts, labels)``. ``use_labels`` gives the labels to the judge as references."""
    judge = Judge(client, patience, **settings)

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any
    ) -> dict[str, Any]:
        import torch

        contexts = [
            {"query": prompt, "reference": label if use_labels else None}
            for prompt, label in zip(prompts, labels)
        ]
        responses = [_response(query, prompt, end_tokens) for query, prompt in zip(queries, prompts)]
        groups = grouped(contexts, responses)
        rows = per_row(groups, judge.judge([group.item for group in groups]))
        rewards = torch.tensor([reward_of(row, fallback) for row in rows], dtype=torch.float32)
        scores = torch.tensor([_share(row, reward) for row, reward in zip(rows, rewards.tolist())])
        told = [numbers(row) for row in rows]
        logs = {key: torch.tensor([one[key] for one in told]) for key in (told[0] if told else {})}
        return {"rewards": rewards, "scores": scores, "extra_logs": logs}

    return reward_func


def _share(row: Row, reward: float) -> float:
    """The place of a reward between the lowest and the highest, 0 to 1: OpenRLHF filters groups by it."""
    provenance = row.verdict.raw["provenance"] if row.verdict is not None else {}
    scale = provenance.get("settings", {}).get("scale", {"min": 1, "max": 10})
    if provenance.get("voting", {}).get("rule") == "majority":
        scale = {"min": 0, "max": 1}
    share = (reward - scale["min"]) / (scale["max"] - scale["min"])
    return float(min(1.0, max(0.0, share)))


def _response(query: str, prompt: str, end_tokens: Sequence[str]) -> str:
    if not query.startswith(prompt):
        raise Unscored("the text does not begin with its prompt, so the response cannot be told apart")
    response = query[len(prompt) :].rstrip()
    while True:
        end = next((token for token in end_tokens if response.endswith(token)), None)
        if end is None:
            return response
        response = response[: -len(end)].rstrip()
