"""What all adapters share: judging items through outages.

::

    rows -> items -> Judge -> outcomes -> rows
                      |  ^
                      v  |   what to send, how long to wait, what to raise
                     Round

An item that fails for itself is unscored. While the *service* is away (coordinator restarting, no worker left), items
are sent again for as long as the trainer can wait: then a restart costs time, and no reward. What every item would meet,
such as an unknown token, is raised. So is an outage that outlasts patience, when no item of the batch has a verdict.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..batch import Answer
from ..client import Client
from ..errors import InvalidArgument, JuryError
from ..request import make_request
from .round import Round, gave
from .rows import Outcome, said

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

log = logging.getLogger("jury.trainers")

MARGIN_S = 6.0
"""The client's grace after the budget, and a second for the way."""
_ANY_ITEM = ("any", ["any"])
_judged_at: dict[tuple[str, str | None], float] = {}
"""When each judge, by address and model, last gave a verdict to this process."""


def put_below(timeout: float, consequence: str, patience: float, settings: Settings) -> float:
    """Sees to it that the judge has answered before a trainer's ``timeout`` ends: the budget, which may be in ``settings``,
    lies below it, and waiting for a service that is away has what is left, but no more than ``patience``."""
    limit = timeout - MARGIN_S
    if limit <= 0:
        raise ValueError(f"timeout: must be above {MARGIN_S:g} seconds, is {timeout:g}")
    budget = settings.get("budget")
    if budget is None:
        budget = settings["budget"] = limit
    if budget > limit:
        raise ValueError(
            f"budget: at most {limit:g} seconds, or {consequence}; is {budget:g}. Raise the trainer's timeout, and timeout with it"
        )
    return min(patience, limit - budget)


class Judge:
    """Judges items, and waits up to ``patience`` seconds for a service that is away.

    A service that is merely busy is waited for longer: until it has given no verdict to any call of this process for as
    long. With ``has_timeout`` patience bounds that wait as well. ``has_fallback`` is for adapters that have something to
    give for a batch without any verdict: an outage raises then only if this judge was never there.

    Settings that any item would be refused with are raised here, before a training has begun.
    """

    def __init__(
        self,
        client: Client | str | None,
        patience: float,
        *,
        has_timeout: bool = False,
        has_fallback: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        if not (client is None or isinstance(client, (str, Client))):
            raise TypeError(
                f"client: must be a jury.Client or an address, is {type(client).__name__}; a jury.Client serves event loops, too"
            )
        client = client if isinstance(client, Client) else Client(client)
        self.client = client.with_settings(**settings) if settings else client
        make_request(_ANY_ITEM, self.client.settings)
        if self.client.settings.get("request_id"):
            problem = "one id cannot stand for every item of a training; leave it out, each call has an id of its own"
            raise InvalidArgument(f"request_id: {problem}", field="request_id")
        self.patience = patience
        self._has_timeout = has_timeout
        self._has_fallback = has_fallback

    def judge(self, items: Sequence[dict[str, Any]]) -> list[Outcome]:
        """What came of each item, in order. Raises only what every item would meet."""
        turn = Round(items, self.patience, time.monotonic())
        while True:
            answers = self.client.score_many(turn.items())
            for answer in answers:
                if not self._record(turn, answer):
                    break
            # Cancels what is unanswered.
            close = getattr(answers, "close", None)
            if close is not None:
                close()
            wait = self._wait(turn)
            if wait is None:
                return self._outcomes(turn)
            _say_again(turn, wait)
            time.sleep(wait)

    async def ajudge(self, items: Sequence[dict[str, Any]]) -> list[Outcome]:
        """The same on an event loop."""
        turn = Round(items, self.patience, time.monotonic())
        while True:
            answers = self.client.ascore_many(turn.items())
            async for answer in answers:
                if not self._record(turn, answer):
                    break
            aclose = getattr(answers, "aclose", None)
            if aclose is not None:
                await aclose()
            wait = self._wait(turn)
            if wait is None:
                return self._outcomes(turn)
            _say_again(turn, wait)
            await asyncio.sleep(wait)

    def _record(self, turn: Round, answer: Answer) -> bool:
        if gave(answer):
            _judged_at[self._judge()] = time.monotonic()
        return turn.record(answer)

    def _wait(self, turn: Round) -> float | None:
        judged_at = -math.inf if self._has_timeout else _judged_at.get(self._judge(), -math.inf)
        return turn.wait(time.monotonic(), judged_at)

    def _outcomes(self, turn: Round) -> list[Outcome]:
        outcomes = turn.outcomes()
        was_there = self._judge() in _judged_at
        absence = turn.absence(was_there)
        if absence is not None and not (was_there and self._has_fallback):
            raise absence
        return _told(outcomes)

    def _judge(self) -> tuple[str, str | None]:
        return self.client.address, self.client.settings.get("model")


def _say_again(turn: Round, wait: float) -> None:
    if wait == 0:
        # A response was left out, which is told at the end.
        return
    log.warning("%d items are judged again in %.0f s: %s", len(turn.pending()), wait, turn.why_again())


def _told(outcomes: list[Outcome]) -> list[Outcome]:
    for outcome in outcomes:
        for error in outcome.left_out.values():
            log.warning("unscored: %s", said(error))
        judged = outcome.judged
        if isinstance(judged, JuryError) or judged.status == "UNSCORED":
            log.warning("unscored: %s", said(judged))
    return outcomes
