"""Which items of a batch are still to be judged, until when it is worth trying, and what ends the batch.

Pure: time is an argument. An error that every item would meet is raised at once; one that may pass, or that is an item's
own, becomes what came of it; one about a response of an item leaves that out. What nothing says is an item's own is raised when
the whole batch has ended so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..batch import Answer
from ..errors import Internal, InvalidArgument, JuryError, Unauthenticated, WrongModel
from ..verdict import Verdict
from .candidates import Candidates
from .rows import Judged, Outcome, said

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

_SERVICE_AWAY = ("UNREACHABLE", "SHUTTING_DOWN", "OVERLOADED", "OVER_QUOTA", "CANCELLED", "DEADLINE_EXCEEDED")
_FLEET_AWAY = ("no_worker", "unknown_model", "worker_failed")
"""What may pass by waiting. A budget that was too short, or a prompt too large for each worker, would be so again."""
_LONGEST_WAIT_S = 10.0


class Round:
    """The items of one batch."""

    def __init__(self, items: Sequence[Mapping[str, Any]], patience: float, now: float) -> None:
        self._candidates = [Candidates(item) for item in items]
        self._judged: list[Judged | None] = [None] * len(items)
        self._pending = list(range(len(items)))
        self._mended: list[int] = []
        """Items that have a response less, to be sent at once."""
        self._again: list[int] = []
        """Items to be sent when the service may be back."""
        self._gives_up_at = now + patience
        self._wait = 0.5

    def pending(self) -> list[int]:
        """The items to send now, by index."""
        return self._pending

    def items(self) -> list[dict[str, Any]]:
        """The same, as they are sent."""
        return [self._candidates[index].item() for index in self._pending]

    def record(self, answer: Answer) -> None:
        """What came of the item at ``answer.index`` of those pending. Raises what every item would meet."""
        index = self._pending[answer.index]
        judged = answer.error if answer.verdict is None else answer.verdict
        assert judged is not None
        if _is_of_every_item(judged):
            raise judged
        if isinstance(judged, InvalidArgument):
            if self._candidates[index].leave_out(judged):
                self._mended.append(index)
                return
            judged = self._candidates[index].by_place(judged)
        self._judged[index] = judged
        if _is_away(judged):
            self._again.append(index)

    def wait(self, now: float) -> float | None:
        """Seconds until what failed should be sent again; None when all is done, or patience is at its end."""
        if self._mended:
            self._pending, self._mended = self._mended, []
            return 0.0
        self._pending, self._again = self._again, []
        self._wait = min(2 * self._wait, _LONGEST_WAIT_S)
        if not self._pending or now + self._wait > self._gives_up_at:
            return None
        return self._wait

    def why_again(self) -> str:
        """Why the pending items are sent again, in the words of the first."""
        judged = self._judged[self._pending[0]]
        return "they were not judged" if judged is None else said(judged)

    def outcomes(self) -> list[Outcome]:
        """What came of every item. Raises what the whole batch has ended with, if waiting or leaving items out cannot mend it."""
        judged = [one for one in self._judged if one is not None]
        if len(judged) < len(self._judged):
            n_lost = len(self._judged) - len(judged)
            raise Internal(f"{n_lost} of {len(self._judged)} items of a batch were never answered")
        if judged and all(map(_is_unknown_model, judged)):
            raise WrongModel(f"{said(judged[0])}; name one with model=")
        if judged and all(isinstance(one, InvalidArgument) and one.field is None for one in judged):
            assert isinstance(judged[0], JuryError)
            raise judged[0]
        return [Outcome(one, candidates.left_out) for one, candidates in zip(judged, self._candidates)]


def _is_of_every_item(judged: Judged) -> TypeGuard[JuryError]:
    if isinstance(judged, InvalidArgument):
        return judged.field is not None and not judged.field.startswith("item")
    return isinstance(judged, (Unauthenticated, WrongModel))


def _is_away(judged: Judged) -> bool:
    if isinstance(judged, JuryError):
        return judged.code in _SERVICE_AWAY
    return _is_unscored_for(judged, _FLEET_AWAY)


def _is_unknown_model(judged: Judged) -> bool:
    return not isinstance(judged, JuryError) and _is_unscored_for(judged, ("unknown_model",))


def _is_unscored_for(verdict: Verdict, codes: Collection[str]) -> bool:
    reasons = [reason for reason in verdict.reasons if reason is not None]
    return verdict.status == "UNSCORED" and all(reason.code in codes for reason in reasons)
