"""TRL: reward functions for ``GRPOTrainer`` and its like.

>>> from jury.trainers.trl import reward_function
>>> GRPOTrainer(model, reward_funcs=reward_function("127.0.0.1:7480", k=4, reference="solution"), ...)

TRL gives rows prompt-major, with the candidates of a prompt beside each other: they are judged as one item, so that the
judge compares them. A row that cannot be scored is ``None``: TRL leaves it out of its group's mean and deviation, and its
advantage is 0.

That holds where no reward function has a number for the row. Beside another one, TRL by itself takes the missing reward for 0.
So give TRL one function, which has no number for such a row, or let it normalize each reward before it sums them:

>>> GRPOTrainer(model, reward_funcs=summed([reward_function("127.0.0.1:7480", k=4), has_form], weights=[1, 0.5]), ...)
>>> GRPOConfig(multi_objective_aggregation="normalize_then_sum", ...)
"""

from __future__ import annotations

import asyncio
import functools
import inspect
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


def summed(
    reward_funcs: Sequence[Callable[..., Any]], weights: Sequence[float] | None = None, name: str = "summed"
) -> Sum | AsyncSum:
    """One reward function that is the weighted sum of several, for TRL to take alone.

    A row has no reward where one of Jury's functions has none for it. A None of another function is left out of the sum, as
    TRL does: it says that the function has nothing to do with the row. Each function's mean is logged under its name.
    """
    if not reward_funcs or not all(map(callable, reward_funcs)):
        raise ValueError("reward_funcs: must be functions, at least one; a reward model cannot be summed here")
    weights = [1.0] * len(reward_funcs) if weights is None else list(weights)
    if len(weights) != len(reward_funcs):
        raise ValueError(f"weights: must be one for each of {len(reward_funcs)} functions, are {len(weights)}")
    is_async = any(map(_is_async, reward_funcs))
    return (AsyncSum if is_async else Sum)(list(reward_funcs), weights, name)


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
        _check_alone(columns)
        groups = self._groups(prompts, completions, columns)
        judged = self._judge.judge([group.item for group in groups])
        return self._rewards(per_row(groups, judged), columns)


class AsyncReward(_Rows):
    """See :func:`async_reward_function`."""

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        _check_alone(columns)
        groups = self._groups(prompts, completions, columns)
        judged = await self._judge.ajudge([group.item for group in groups])
        return self._rewards(per_row(groups, judged), columns)


class _Sum:
    """Rewards of several functions to those of one."""

    def __init__(self, reward_funcs: list[Callable[..., Any]], weights: list[float], name: str) -> None:
        self.__name__ = name
        self._reward_funcs = reward_funcs
        self._weights = weights

    def _summed(self, rewards: list[list[float | None]], columns: dict[str, Any]) -> list[float | None]:
        log_metric: Callable[[str, float], None] | None = columns.get("log_metric")
        for function, of_one in zip(self._reward_funcs, rewards):
            known = [reward for reward in of_one if reward is not None]
            if log_metric is not None and of_one:
                name = getattr(function, "__name__", type(function).__name__)
                log_metric(f"{name}/mean", sum(known) / len(known) if known else float("nan"))
        return [self._sum(row) for row in zip(*rewards)]

    def _sum(self, row: tuple[float | None, ...]) -> float | None:
        pairs = list(zip(self._reward_funcs, row))
        if any(reward is None and isinstance(function, (_Rows, _Sum)) for function, reward in pairs):
            return None
        known = [weight * reward for weight, reward in zip(self._weights, row) if reward is not None]
        return sum(known) if known else None


class Sum(_Sum):
    """See :func:`summed`."""

    def __call__(self, **columns: Any) -> list[float | None]:
        return self._summed([function(**columns) for function in self._reward_funcs], columns)


class AsyncSum(_Sum):
    """See :func:`summed`. Coroutine functions run side by side."""

    async def __call__(self, **columns: Any) -> list[float | None]:
        called = [function(**columns) for function in self._reward_funcs]
        awaited = iter(await asyncio.gather(*filter(inspect.isawaitable, called)))
        return self._summed([next(awaited) if inspect.isawaitable(one) else one for one in called], columns)


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _check_alone(columns: dict[str, Any]) -> None:
    """Raises ValueError where TRL would take a missing reward for 0: ``log_metric`` is a method of the trainer."""
    trainer = getattr(columns.get("log_metric"), "__self__", None)
    beside = len(getattr(trainer, "reward_funcs", ())) - 1
    aggregation = getattr(trainer, "multi_objective_aggregation", None)
    if beside < 1 or aggregation == "normalize_then_sum":
        return
    way_out = "give it one function, jury.trainers.trl.summed([..], weights=[..])"
    if aggregation is not None:
        way_out += ', or set multi_objective_aggregation="normalize_then_sum"'
    raise ValueError(f"reward_funcs: beside {beside} more, TRL takes a reward that is missing for 0, the worst of all; {way_out}")
