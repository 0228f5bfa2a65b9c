"""TRL: reward functions for ``GRPOTrainer`` and its like.

>>> from jury.trainers.trl import reward_function
>>> GRPOTrainer(model, reward_funcs=reward_function("127.0.0.1:7480", k=4, reference="solution"), ...)

TRL gives rows prompt-major, with the candidates of a prompt beside each other: they are judged as one item, so that the
judge compares them. A row that cannot be scored is ``None``: TRL leaves it out of its group's mean and deviation, and its
advantage is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge
from .rows import Group, Row, grouped, last_message, numbers, per_row

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

PATIENCE_S = 600.0
"""TRL has no timeout of its own, and an exception would end the training."""


def reward_function(
    client: Client | str | None = None,
    *,
    reference: str | None = None,
    criteria: str | None = None,
    patience: float = PATIENCE_S,
    name: str = "jury",
    **settings: Unpack[Settings],
) -> Reward:
    """A reward function that judges the candidates of each prompt together.

    ``client`` is a client or an address; ``reference`` and ``criteria`` are names of columns of the dataset: a
    ground-truth answer, and a list of rubrics. ``patience`` is how many seconds it waits for a service that is away.
    ``name`` is that of the reward in TRL's logs: of several such functions, give each its own, or TRL mixes their numbers.
    """
    return Reward(Judge(client, patience, **settings), reference, criteria, name)


def async_reward_function(
    client: Client | str | None = None,
    *,
    reference: str | None = None,
    criteria: str | None = None,
    patience: float = PATIENCE_S,
    name: str = "jury",
    **settings: Unpack[Settings],
) -> AsyncReward:
    """The same as a coroutine function: TRL runs several of those side by side."""
    return AsyncReward(Judge(client, patience, **settings), reference, criteria, name)


class _Rows:
    """Rows of TRL to groups, and outcomes to what TRL wants."""

    def __init__(self, judge: Judge, reference: str | None, criteria: str | None, name: str) -> None:
        self.__name__ = name
        """The name under which TRL logs the rewards."""
        self._judge = judge
        self._columns = {"reference": reference, "criteria": criteria}

    def _groups(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[Group]:
        taken = {key: columns[name] for key, name in self._columns.items() if name is not None}
        contexts = (
            {"query": prompt, **{key: values[row] for key, values in taken.items()}}
            for row, prompt in enumerate(prompts)
        )
        return grouped(contexts, [last_message(completion) for completion in completions])

    def _rewards(self, rows: list[Row], columns: dict[str, Any]) -> list[float | None]:
        log_metric: Callable[[str, float], None] | None = columns.get("log_metric")
        log_extra: Callable[[str, list[Any]], None] | None = columns.get("log_extra")
        if log_metric is not None and rows:
            told = [numbers(row) for row in rows]
            log_metric(f"{self.__name__}/unscored", sum(row.reward is None for row in rows) / len(rows))
            for name in ("agreement", "latency_s", "n_parse_failed", "n_timed_out"):
                known = [one[name] for one in told if one[name] == one[name]]
                # The same keys in every step: TRL leaves NaN out of its means, and logs None where there is nothing else.
                log_metric(f"{self.__name__}/{name}", sum(known) / len(known) if known else float("nan"))
        if log_extra is not None:
            log_extra(f"{self.__name__}_reason", [row.reason for row in rows])
        return [row.reward for row in rows]


class Reward(_Rows):
    """See :func:`reward_function`."""

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        groups = self._groups(prompts, completions, columns)
        judged = self._judge.judge([group.item for group in groups])
        return self._rewards(per_row(groups, judged), columns)


class AsyncReward(_Rows):
    """See :func:`async_reward_function`."""

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        groups = self._groups(prompts, completions, columns)
        judged = await self._judge.ajudge([group.item for group in groups])
        return self._rewards(per_row(groups, judged), columns)
