"""verifiers (v1): the reward of a task.

>>> from jury.trainers.verifiers import Scorer
>>> score = Scorer("coordinator:7480", timeout=180, k=4)
>>> class MyTask(vf.Task[MyData]):
...     @vf.reward
...     async def jury(self, trace: vf.Trace) -> float:
...         return await score(self.data, trace)

What cannot be scored raises ``Unscored``: the rollout ends with an error, and is not scored against the model. Where
``timeout.scoring`` is set, of the agent or of a task, ``timeout`` must be told of it: when that ends first, verifiers goes on with
a trace whose reward is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..client import Client
from .judging import Judge, put_below
from .rows import grouped, per_row, reward_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

PATIENCE_S = 300.0


class Scorer:
    """Judges the last reply of a trace as the answer to its task's prompt."""

    def __init__(
        self,
        client: Client | str | None = None,
        *,
        reference: str | None = None,
        timeout: float | None = None,
        patience: float = PATIENCE_S,
        **settings: Unpack[Settings],
    ) -> None:
        """``reference`` is the field of the task's data that holds a ground-truth answer. ``timeout`` is verifiers' own
        ``timeout.scoring`` in seconds, None where there is none: budget and patience end below it."""
        if timeout is not None:
            patience = put_below(timeout, "verifiers takes 0 before the answer comes", patience, settings)
        self._judge = Judge(client, patience, has_timeout=timeout is not None, **settings)
        self._reference = reference

    async def __call__(self, data: Any, trace: Any) -> float:
        reference = None if self._reference is None else getattr(data, self._reference)
        context = {"query": data.prompt_text, "reference": reference}
        groups = grouped([context], [trace.last_reply])
        (row,) = per_row(groups, await self._judge.ajudge([group.item for group in groups]))
        return reward_of(row, None)
