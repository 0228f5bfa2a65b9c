"""slime: a custom reward, single or by group.

>>> from jury.trainers.slime import group_reward_function
>>> reward = group_reward_function("coordinator:7480", k=4)     # --group-rm --custom-rm-path my_module.reward

By group the candidates of a prompt are judged together. A sample that cannot be scored is marked ``remove_sample``, which
masks its loss; slime still wants a number, and gets the mean of the scored ones of its group, which leaves their mean as it is.
slime keeps the token that ends a response; it is taken off (``end_tokens``).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge
from .rows import END_TOKENS, Unscored, checked_end_tokens, grouped, per_row, without_end

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

PATIENCE_S = 600.0
"""slime waits for a custom reward without a limit."""


def group_reward_function(
    client: Client | str | None = None,
    *,
    use_labels: bool = False,
    patience: float = PATIENCE_S,
    end_tokens: Sequence[str] = END_TOKENS,
    **settings: Unpack[Settings],
) -> Callable[..., Coroutine[Any, Any, list[float]]]:
    """An ``async f(args, samples)``. Raises Unscored when no sample of a group is scored."""
    judge = Judge(client, patience, **settings)
    ends = checked_end_tokens(end_tokens)

    async def reward(args: Any, samples: Sequence[Any], **_: Any) -> list[float]:
        contexts = [
            {"query": sample.prompt, "reference": sample.label if use_labels else None} for sample in samples
        ]
        groups = grouped(contexts, [without_end(sample.response, ends) for sample in samples])
        rows = per_row(groups, await judge.ajudge([group.item for group in groups]))
        # The samples of a call are one group of slime's, also where they are judged as several items.
        scored = [row.reward for row in rows if row.reward is not None]
        if rows and not scored:
            raise Unscored(rows[0].reason or "unscored")
        for row, sample in zip(rows, samples):
            if row.reward is None:
                sample.remove_sample = True
        return [sum(scored) / len(scored) if row.reward is None else row.reward for row in rows]

    return reward


def reward_function(
    client: Client | str | None = None,
    *,
    use_labels: bool = False,
    patience: float = PATIENCE_S,
    end_tokens: Sequence[str] = END_TOKENS,
    **settings: Unpack[Settings],
) -> Callable[..., Coroutine[Any, Any, float]]:
    """An ``async f(args, sample)``. Raises Unscored: without the group there is no number that would do no harm."""
    of_group = group_reward_function(
        client, use_labels=use_labels, patience=patience, end_tokens=end_tokens, **settings
    )

    async def reward(args: Any, sample: Any, **_: Any) -> float:
        (one,) = await of_group(args, [sample])
        return one

    return reward
