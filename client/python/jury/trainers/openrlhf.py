"""OpenRLHF: a reward function in a Python file of yours, named by ``--reward.remote_url``.

>>> from jury.trainers.openrlhf import make_reward_func
>>> reward_func = make_reward_func("coordinator:7480", k=4)

OpenRLHF gives the whole text, special tokens included; the response is what follows the prompt. It cannot bear a missing
reward: it swallows the exception, and the training ends a little later, or trains on a batch without it. ``fallback`` is a
number for what is unscored; ``patience`` comes first, and there is no timeout of OpenRLHF's own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge
from .rows import (
    END_TOKENS,
    Row,
    checked_end_tokens,
    grouped,
    numbers,
    per_row,
    reward_of,
    without_end,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

PATIENCE_S = 600.0
_NO_RESPONSE = "no_response: the query does not begin with its prompt, so the response is unknown"


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
    judge = Judge(client, patience, has_fallback=fallback is not None, **settings)
    ends = checked_end_tokens(end_tokens)
    scale = _scale_of(judge.client.settings)

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any
    ) -> dict[str, Any]:
        import torch

        responses = [response_of(query, prompt) for query, prompt in zip(queries, prompts)]
        known = [at for at, response in enumerate(responses) if response is not None]
        contexts = [{"query": prompts[at], "reference": labels[at] if use_labels else None} for at in known]
        groups = grouped(contexts, [without_end(responses[at], ends) for at in known])
        rows = [Row(None, _NO_RESPONSE, None)] * len(responses)
        for at, row in zip(known, per_row(groups, judge.judge([group.item for group in groups]))):
            rows[at] = row
        rewards = torch.tensor([reward_of(row, fallback) for row in rows], dtype=torch.float32)
        scores = torch.tensor([_share(row, reward, scale) for row, reward in zip(rows, rewards.tolist())])
        told = [numbers(row) for row in rows]
        logs = {key: torch.tensor([one[key] for one in told]) for key in (told[0] if told else {})}
        return {"rewards": rewards, "scores": scores, "extra_logs": logs}

    return reward_func


def response_of(query: str, prompt: str) -> str | None:
    """What follows the prompt; None for a query that does not begin with it, as when OpenRLHF has cut a long prompt.

    Both have been through a tokenizer: it may have normalised the prompt, or dropped the white space before it.
    """
    for form in (prompt, *(unicodedata.normalize(kind, prompt) for kind in ("NFC", "NFKC"))):
        for whole, start in ((query, form), (query.lstrip(), form.lstrip())):
            if whole.startswith(start):
                return whole[len(start) :]
    return None


def _share(row: Row, reward: float, scale: Mapping[str, float]) -> float:
    """The place of a reward between the lowest and the highest, 0 to 1: OpenRLHF filters groups by it."""
    if row.verdict is not None:
        provenance = row.verdict.raw["provenance"]
        is_share = provenance.get("voting", {}).get("rule") == "majority"
        scale = {"min": 0, "max": 1} if is_share else provenance.get("settings", {}).get("scale", scale)
    share = (reward - scale["min"]) / (scale["max"] - scale["min"])
    return float(min(1.0, max(0.0, share)))


def _scale_of(settings: Mapping[str, Any]) -> Mapping[str, float]:
    """Of rewards, where no verdict names it."""
    if (settings.get("voting") or {}).get("rule") == "majority":
        return {"min": 0, "max": 1}
    scale = settings.get("scale") or {"min": 1, "max": 10}
    return scale if isinstance(scale, Mapping) else {"min": scale[0], "max": scale[1]}
