"""What all adapters share: judging items through outages.

::

    rows -> items -> Judge -> outcomes -> rows
                      |  ^
                      v  |   what to send, how long to wait, what to raise
                     Round

An item that fails for itself is unscored. While the *service* is away (coordinator restarting, no worker left), items
are sent again for as long as the trainer can wait: then a restart costs time, and no reward. What every item would meet,
such as an unknown token, is raised.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..client import Client
from ..errors import InvalidArgument, JuryError
from ..request import make_request
from .round import Round
from .rows import Outcome, said

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

log = logging.getLogger("jury.trainers")

MARGIN_S = 6.0
"""The client's grace after the budget, and a second for the way."""
_ANY_ITEM = ("any", ["any"])


def put_below(timeout: float, consequence: str, patience: float, settings: Settings) -> float:
    """Sees to it that the judge has answered before a trainer's ``timeout`` ends: the budget, which may be in ``settings``,
    lies below it, and waiting for a service that is away has what is left, but no more than ``patience``."""
    limit = timeout - MARGIN_S
    if limit <= 0:
        raise ValueError(f"timeout: must be above {MARGIN_S:g} seconds, is {timeout:g}")
    budget = settings.setdefault("budget", limit)
    if budget > limit:
        raise ValueError(
            f"budget: at most {limit:g} seconds, or {consequence}; is {budget:g}. Raise the trainer's timeout, and timeout with it"
        )
    return min(patience, limit - budget)


class Judge:
    """Judges items, and waits up to ``patience`` seconds for a service that is away.

    Settings that any item would be refused with are raised here, before a training has begun.
    """

    def __init__(
        self, client: Client | str | None, patience: float, **settings: Unpack[Settings]
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

    def judge(self, items: Sequence[dict[str, Any]]) -> list[Outcome]:
        """What came of each item, in order. Raises only what every item would meet."""
        turn = Round(items, self.patience, time.monotonic())
        while True:
            for answer in self.client.score_many(turn.items()):
                turn.record(answer)
            wait = turn.wait(time.monotonic())
            if wait is None:
                return _told(turn.outcomes())
            _say_again(turn, wait)
            time.sleep(wait)

    async def ajudge(self, items: Sequence[dict[str, Any]]) -> list[Outcome]:
        """The same on an event loop."""
        turn = Round(items, self.patience, time.monotonic())
        while True:
            async for answer in self.client.ascore_many(turn.items()):
                turn.record(answer)
            wait = turn.wait(time.monotonic())
            if wait is None:
                return _told(turn.outcomes())
            _say_again(turn, wait)
            await asyncio.sleep(wait)


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
