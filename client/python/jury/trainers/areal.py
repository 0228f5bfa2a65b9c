"""AReaL: a reward function for its process pool. :mod:`jury.trainers.areal_workflow` needs no pool, and loses no reward to it.

>>> from jury.trainers.areal import RewardFunction
>>> reward_fn = RewardFunction("coordinator:7480", k=4)

AReaL gives a call 15 seconds (``timeout_seconds`` of its wrapper), tries again three times, and then takes 0. So the deadline
here is below that: ``timeout`` is AReaL's, and must grow with it. What cannot be scored raises ``Unscored``, which AReaL tries
again three times and then raises.

AReaL's 15 seconds include the wait for a process. The pool has ``max(cpus // devices // 2, 1)`` of them, each with one call
at a time, so rollouts that finish together wait for each other: those that have no process within 60 seconds, in four tries,
silently count as 0, however well the judge is. Use this function only where judging takes far less than that in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge, put_below
from .rows import END_TOKENS, Group, checked_end_tokens, grouped, per_row, reward_of, without_end

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
        end_tokens: Sequence[str] = END_TOKENS,
        **settings: Unpack[Settings],
    ) -> None:
        """``reference`` is the column of the dataset that holds a ground-truth answer."""
        put_below(timeout, "AReaL takes 0 before the answer comes", 0.0, settings)
        self._judge = Judge(client, 0.0, has_timeout=True, has_fallback=fallback is not None, **settings)
        self._reference = reference
        self._fallback = fallback
        self._end_tokens = checked_end_tokens(end_tokens)

    def __call__(
        self,
        prompt: str,
        completions: str,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        /,
        **columns: Any,
    ) -> float:
        groups = groups_of(prompt, completions, columns, self._reference, self._end_tokens)
        (row,) = per_row(groups, self._judge.judge([group.item for group in groups]))
        return reward_of(row, self._fallback)


def groups_of(
    prompt: str, completion: str, columns: dict[str, Any], reference: str | None, end_tokens: tuple[str, ...]
) -> list[Group]:
    """The one item of a call. AReaL decodes the token that ends a response; it is taken off."""
    context = {"query": prompt, "reference": None if reference is None else columns[reference]}
    return grouped([context], [without_end(completion, end_tokens)])
