"""What all adapters share: rows to items, judging through outages, verdicts to rows.

::

    rows -> grouped -> items -> Judge -> verdicts or errors -> per_row -> rows

An item that fails for itself is unscored. While the *service* is away (coordinator restarting, no worker left), items
are sent again for as long as the trainer can wait: then a restart costs time, and no reward.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from ..batch import Answer
from ..client import Client
from ..errors import InvalidArgument, JuryError
from ..verdict import Verdict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..request import Settings

log = logging.getLogger("jury.trainers")

MAX_RESPONSES = 64
"""Most responses of one item."""

Judged = Union[Verdict, JuryError]

_SERVICE_AWAY = ("UNREACHABLE", "SHUTTING_DOWN", "OVERLOADED", "OVER_QUOTA", "CANCELLED", "DEADLINE_EXCEEDED")
_FLEET_AWAY = ("no_worker", "unknown_model", "worker_failed")
"""What may pass by waiting. A budget that was too short, or a prompt too large for each worker, would be so again."""
_LONGEST_WAIT_S = 10.0
MARGIN_S = 6.0
"""The client's grace after the budget, and a second for the way."""


class Unscored(JuryError):
    """A response has no reward; for trainers to which an exception is the way to say so."""

    code = "UNSCORED"


@dataclass(frozen=True)
class Group:
    """Rows that are judged together: candidates for the same query."""

    rows: list[int]
    item: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What one response got: a reward, or the reason why there is none."""

    reward: float | None
    reason: str | None
    verdict: Verdict | None


def grouped(contexts: Iterable[Mapping[str, Any]], responses: Sequence[Any]) -> list[Group]:
    """Groups neighbouring rows of equal context (query, reference, ...); groups over 64 are split evenly.

    A reference of another type, such as a number, is taken as its text.
    """
    groups: list[Group] = []
    runs: list[tuple[Mapping[str, Any], list[int]]] = []
    for row, context in enumerate(map(_with_text_as_reference, contexts)):
        if runs and runs[-1][0] == context:
            runs[-1][1].append(row)
        else:
            runs.append((context, [row]))
    for context, rows in runs:
        n_parts = -(-len(rows) // MAX_RESPONSES)
        for part in range(n_parts):
            mine = rows[len(rows) * part // n_parts : len(rows) * (part + 1) // n_parts]
            item = {**context, "responses": [responses[row] for row in mine]}
            groups.append(Group(mine, {key: value for key, value in item.items() if value is not None}))
    return groups


def per_row(groups: Sequence[Group], judged: Sequence[Judged]) -> list[Row]:
    """The outcome of each row, in the order of rows."""
    rows: dict[int, Row] = {}
    for group, outcome in zip(groups, judged):
        for place, row in enumerate(group.rows):
            rows[row] = _row(outcome, place)
    return [rows[row] for row in range(len(rows))]


def numbers(row: Row) -> dict[str, float]:
    """What is worth logging of a row: the same keys for every row, numbers only. NaN is what is not there."""
    nan = float("nan")
    verdict = row.verdict
    if verdict is None:
        keys = _COUNTS + ("agreement", "queue_s", "latency_s", "tokens", "cached_tokens")
        return {"valid": 0.0, **dict.fromkeys(keys, nan)}
    counts = verdict.counts
    return {
        "valid": float(row.reward is not None),
        "n_requested": float(counts.asked),
        "n_valid": float(counts.valid),
        "n_parse_failed": float(counts.parse_failed),
        "n_timed_out": float(counts.timed_out),
        "agreement": nan if verdict.agreement is None else verdict.agreement,
        "queue_s": verdict.run.queue_ms / 1000,
        "latency_s": verdict.run.total_ms / 1000,
        "tokens": float(verdict.usage.generated_tokens),
        "cached_tokens": float(verdict.run.cached_tokens),
    }


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


def last_message(completion: Any) -> Any:
    """What is judged of a completion: its text, or the last message of a conversation with tools."""
    if isinstance(completion, (list, tuple)) and len(completion) > 1:
        return completion[-1]
    return completion


def reward_of(row: Row, fallback: float | None) -> float:
    """The reward, or what takes its place; raises Unscored when nothing does."""
    if row.reward is not None:
        return row.reward
    if fallback is None:
        raise Unscored(row.reason or "unscored")
    return fallback


def plain(value: Any) -> Any:
    """Plain dicts and lists for what a configuration or numpy wraps them in."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (str, bytes)) or value is None:
        return value
    if isinstance(value, Iterable):
        return [plain(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value


class Round:
    """Which items are still to be judged, and until when it is worth trying. Pure: time is an argument."""

    def __init__(self, n_items: int, patience: float, now: float) -> None:
        self._judged: list[Judged | None] = [None] * n_items
        self._pending = list(range(n_items))
        self._again: list[int] = []
        self._gives_up_at = now + patience
        self._wait = 0.5

    def pending(self) -> list[int]:
        """The items to send now, by index."""
        return self._pending

    def record(self, answer: Answer) -> None:
        """What came of the item at ``answer.index`` of those pending."""
        index = self._pending[answer.index]
        if answer.verdict is not None:
            judged: Judged = answer.verdict
        else:
            assert answer.error is not None
            judged = answer.error
            field = judged.field if isinstance(judged, InvalidArgument) else None
            if isinstance(judged, InvalidArgument) and not (field or "").startswith("item"):
                # Not this item's fault: every item will be refused.
                raise judged
        self._judged[index] = judged
        if _is_away(judged):
            self._again.append(index)

    def wait(self, now: float) -> float | None:
        """Seconds until what failed should be sent again; None when all is done, or patience is at its end."""
        self._pending, self._again = self._again, []
        self._wait = min(2 * self._wait, _LONGEST_WAIT_S)
        if not self._pending or now + self._wait > self._gives_up_at:
            return None
        return self._wait

    def outcome(self) -> list[Judged]:
        """What came of every item."""
        return [judged for judged in self._judged if judged is not None]


class Judge:
    """Judges items, and waits up to ``patience`` seconds for a service that is away."""

    def __init__(
        self, client: Client | str | None, patience: float, **settings: Unpack[Settings]
    ) -> None:
        client = client if isinstance(client, Client) else Client(client)
        self.client = client.with_settings(**settings) if settings else client
        self.patience = patience

    def judge(self, items: Sequence[dict[str, Any]]) -> list[Judged]:
        """A verdict or an error for each item, in order. Raises only what every item would meet."""
        turn = Round(len(items), self.patience, time.monotonic())
        while True:
            for answer in self.client.score_many([items[index] for index in turn.pending()]):
                turn.record(answer)
            wait = turn.wait(time.monotonic())
            if wait is None:
                return _told(turn.outcome())
            log.warning("%d items are judged again in %.0f s: the service is away", len(turn.pending()), wait)
            time.sleep(wait)

    async def ajudge(self, items: Sequence[dict[str, Any]]) -> list[Judged]:
        """The same on an event loop."""
        turn = Round(len(items), self.patience, time.monotonic())
        while True:
            async for answer in self.client.ascore_many([items[index] for index in turn.pending()]):
                turn.record(answer)
            wait = turn.wait(time.monotonic())
            if wait is None:
                return _told(turn.outcome())
            log.warning("%d items are judged again in %.0f s: the service is away", len(turn.pending()), wait)
            await asyncio.sleep(wait)


_COUNTS = ("n_requested", "n_valid", "n_parse_failed", "n_timed_out")


def _is_away(judged: Judged) -> bool:
    if isinstance(judged, JuryError):
        return judged.code in _SERVICE_AWAY
    reasons = [reason for reason in judged.reasons if reason is not None]
    return judged.status == "UNSCORED" and all(reason.code in _FLEET_AWAY for reason in reasons)


def _with_text_as_reference(context: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = context.get("reference")
    if reference is None or isinstance(reference, str):
        return context
    return {**context, "reference": str(reference)}


def _row(outcome: Judged, place: int) -> Row:
    if isinstance(outcome, JuryError):
        return Row(None, f"{outcome.code}: {outcome}", None)
    reason = outcome.reasons[place]
    said = None if reason is None else f"{reason.code}: {reason.detail}"
    return Row(outcome.rewards[place], said, outcome)


def _told(judged: list[Judged]) -> list[Judged]:
    for outcome in judged:
        if isinstance(outcome, JuryError):
            log.warning("unscored: %s", outcome)
        elif outcome.status == "UNSCORED":
            reason = next((reason for reason in outcome.reasons if reason is not None), None)
            log.warning("unscored: %s", "no reason was told" if reason is None else reason.detail)
    return judged
