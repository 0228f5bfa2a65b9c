"""Which items of a batch are still to be judged, until when it is worth trying, and what ends the batch.

Pure: time is an argument. An error that every item would meet is raised at once; one that may pass, or that is an item's
own, becomes what came of it; one about a response of an item leaves that out. What nothing says is an item's own is raised when
the whole batch has ended so.

Items are sent in passes. Once the service is found to be away, a pass ends: what it has not answered is sent again, after a
wait, in the next. Otherwise each window of items would wait for its own deadline, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..batch import Answer
from ..errors import Internal, InvalidArgument, JuryError, RequestIdReused, Unauthenticated, WrongModel
from ..verdict import Verdict
from .candidates import Candidates
from .rows import Judged, Outcome, Unscored, said

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

_ENDS_A_PASS = ("UNREACHABLE", "SHUTTING_DOWN", "WRONG_SERVICE")
"""Of the connection, and so of every item on it. An ingress without a coordinator behind it is another service."""
_BUSY = ("OVERLOADED", "OVER_QUOTA")
"""The service is there and has no room yet."""
_OF_AN_OUTAGE = (*_ENDS_A_PASS, *_BUSY)
_SERVICE_AWAY = (*_OF_AN_OUTAGE, "CANCELLED", "DEADLINE_EXCEEDED")
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
        self._unanswered = set(self._pending)
        """Those pending that this pass has not answered."""
        self._ended_by: JuryError | None = None
        """What the service was away with, in this pass."""
        self._patience = patience
        self._gives_up_at = now + patience
        self._wait = 0.5

    def pending(self) -> list[int]:
        """The items to send now, by index."""
        return self._pending

    def items(self) -> list[dict[str, Any]]:
        """The same, as they are sent."""
        return [self._candidates[index].item() for index in self._pending]

    def record(self, answer: Answer) -> bool:
        """What came of the item at ``answer.index`` of those pending; false when the pass ends with it, since the service is away.

        Raises what every item would meet.
        """
        index = self._pending[answer.index]
        self._unanswered.discard(index)
        judged = answer.error if answer.verdict is None else answer.verdict
        assert judged is not None
        if _is_of_every_item(judged):
            raise judged
        if isinstance(judged, InvalidArgument):
            if self._candidates[index].leave_out(judged):
                self._mended.append(index)
                return True
            judged = self._candidates[index].by_place(judged)
        self._judged[index] = judged
        if _is_away(judged):
            self._again.append(index)
        if isinstance(judged, JuryError) and judged.code in _ENDS_A_PASS:
            self._ended_by = judged
        return self._ended_by is None

    def wait(self, now: float, judged_at: float = -math.inf) -> float | None:
        """Seconds until what failed should be sent again; None when all is done, or patience is at its end.

        ``judged_at`` is when the judge last gave a verdict, to any caller: patience with one that is merely busy begins there.
        """
        if self._ended_by is not None:
            lost = self._unanswered.union(self._mended)
            for index in lost:
                self._judged[index] = self._ended_by
            self._again, self._mended = sorted(lost.union(self._again)), []
        if self._mended:
            self._send(self._mended)
            self._mended = []
            return 0.0
        self._send(self._again)
        self._again = []
        if any(getattr(self._judged[index], "code", None) in _BUSY for index in self._pending):
            self._gives_up_at = max(self._gives_up_at, judged_at + self._patience)
        self._wait = min(2 * self._wait, _LONGEST_WAIT_S)
        if not self._pending or now + self._wait > self._gives_up_at:
            return None
        return self._wait

    def _send(self, indices: list[int]) -> None:
        self._pending, self._unanswered, self._ended_by = indices, set(indices), None

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

    def absence(self, was_there: bool) -> JuryError | None:
        """Why not one item has a verdict, where patience has ended with an outage: of the service, or of its whole fleet.

        A judge that never ``was_there`` is away whatever its error: there may be none at that address.
        """
        judged = [one for one in self._judged if one is not None]
        if not judged or not all(_is_outage(one, was_there) for one in judged):
            return None
        errors = (one for one in judged if isinstance(one, JuryError))
        return next(errors, None) or Unscored(said(judged[0]))


def gave(answer: Answer) -> bool:
    """True when the judge was there for an item: it has a verdict, and not one that says otherwise."""
    return answer.verdict is not None and not _is_away(answer.verdict)


def _is_of_every_item(judged: Judged) -> TypeGuard[JuryError]:
    if isinstance(judged, InvalidArgument):
        return judged.field is not None and not judged.field.startswith("item")
    return isinstance(judged, (Unauthenticated, WrongModel))


def _is_away(judged: Judged) -> bool:
    if isinstance(judged, JuryError):
        return judged.code in _SERVICE_AWAY
    return _is_unscored_for(judged, _FLEET_AWAY)


def _is_outage(judged: Judged, was_there: bool) -> bool:
    if isinstance(judged, (InvalidArgument, RequestIdReused)):
        return False
    if isinstance(judged, JuryError):
        return not was_there or judged.code in _OF_AN_OUTAGE
    return _is_unscored_for(judged, ("no_worker",))


def _is_unknown_model(judged: Judged) -> bool:
    return not isinstance(judged, JuryError) and _is_unscored_for(judged, ("unknown_model",))


def _is_unscored_for(verdict: Verdict, codes: Collection[str]) -> bool:
    reasons = [reason for reason in verdict.reasons if reason is not None]
    return verdict.status == "UNSCORED" and all(reason.code in codes for reason in reasons)
