"""AReaL: a reward function for its process pool.

>>> from jury.trainers.areal import RewardFunction
>>> reward_fn = RewardFunction("coordinator:7480", k=4)

AReaL gives a call 15 seconds (``timeout_seconds`` of its wrapper), tries again, and then takes 0. So the deadline here lies
below that: ``timeout`` is AReaL's, and must grow with it. What cannot be scored raises ``Unscored``, which AReaL tries again
three times and then raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge, put_below
from .rows import grouped, per_row, reward_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

TIMEOUT_S = 15.0


class RewardFunction:
    """Picklable: it travels into the pool's processes as address and settings."""

    def __init__(
        self,
        client: Client | str | None = None,
        *,
        reference: str | None = None,
        fallback: float | None = None,
        timeout: float = TIMEOUT_S,
        **settings: Unpack[Settings],
    ) -> None:
        """``reference`` is the column of the dataset that holds a ground-truth answer."""
        put_below(timeout, "AReaL takes 0 before the answer comes", 0.0, settings)
        self._judge = Judge(client, 0.0, **settings)
        self._reference = reference
        self._fallback = fallback

    def __call__(
        self,
        prompt: str,
        completions: str,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        **columns: Any,
    ) -> float:
        reference = None if self._reference is None else columns[self._reference]
        groups = grouped([{"query": prompt, "reference": reference}], [completions])
        (row,) = per_row(groups, self._judge.judge([group.item for group in groups]))
        return reward_of(row, self._fallback)
