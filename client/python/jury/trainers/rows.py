"""Rows of a trainer, and the items that they make.

::

    rows -> grouped -> items .. outcomes -> per_row -> rows
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from ..errors import JuryError
from ..verdict import Reason, Verdict

MAX_RESPONSES = 64
"""Most responses of one item."""
END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "</s>")
"""Tokens that end a turn, as a decoded response has them where special tokens are not skipped."""

Judged = Union[Verdict, JuryError]


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


@dataclass(frozen=True)
class Outcome:
    """What came of an item."""

    judged: Judged
    """Of the responses that were shown to the judge."""
    left_out: Mapping[int, JuryError] = field(default_factory=dict)
    """Why others were not, by their place."""

    def row(self, place: int) -> Row:
        """What the response at ``place`` got."""
        if place in self.left_out:
            return Row(None, said(self.left_out[place]), None)
        if isinstance(self.judged, JuryError):
            return Row(None, said(self.judged), None)
        shown = place - sum(left_out < place for left_out in self.left_out)
        reason = self.judged.reasons[shown]
        return Row(self.judged.rewards[shown], None if reason is None else _sentence(reason), self.judged)


def grouped(contexts: Iterable[Mapping[str, Any]], responses: Sequence[Any]) -> list[Group]:
    """Groups neighbouring rows of equal context (query, reference, ...); groups over 64 are split evenly.

    A reference of another type, such as a number, is taken as its text. What stands for a missing value is left out.
    """
    groups: list[Group] = []
    runs: list[tuple[dict[str, Any], list[int]]] = []
    for row, context in enumerate(map(_plain_context, contexts)):
        if runs and _are_equal(runs[-1][0], context):
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


def reference_of(value: Any) -> str | None:
    """A cell of a dataset as a reference: blank texts and missing values are none, all else is its text.

    A reference reaches the prompt as known to be right, so nothing is made up.
    """
    if _is_missing(value):
        return None
    text = str(value)
    return text if text.strip() else None


def per_row(groups: Sequence[Group], outcomes: Sequence[Outcome]) -> list[Row]:
    """What each row got, in the order of rows."""
    rows: dict[int, Row] = {}
    for group, outcome in zip(groups, outcomes):
        for place, row in enumerate(group.rows):
            rows[row] = outcome.row(place)
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


def said(judged: Judged) -> str:
    """Why something was not judged, code first; of a verdict, the first reason."""
    if isinstance(judged, JuryError):
        return f"{judged.code}: {judged}"
    return next((_sentence(reason) for reason in judged.reasons if reason is not None), "no reason was told")


def last_message(completion: Any) -> Any:
    """What is judged of a completion: its text, or the last message of a conversation with tools."""
    if isinstance(completion, (list, tuple)) and len(completion) > 1:
        return completion[-1]
    return completion


def checked_end_tokens(end_tokens: Sequence[str]) -> tuple[str, ...]:
    """The same as a tuple. Raises ValueError for one text, which would be taken for a list of its characters, and for a blank one."""
    if isinstance(end_tokens, (str, bytes)):
        raise ValueError(f"end_tokens: must be a list of texts, is {end_tokens!r}; write [{end_tokens!r}]")
    tokens = tuple(end_tokens)
    for token in tokens:
        if not isinstance(token, str) or not token.strip():
            raise ValueError(f"end_tokens: each must be a text that is not blank, one is {token!r}")
    return tokens


def without_end(response: Any, end_tokens: tuple[str, ...]) -> Any:
    """A text without the end tokens and white space at its end. Whether a response was cut off says nothing about its text."""
    if not isinstance(response, str):
        return response
    response = response.rstrip()
    while response.endswith(end_tokens):
        end = next(token for token in end_tokens if response.endswith(token))
        response = response[: -len(end)].rstrip()
    return response


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
    if isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0:
        return [plain(inner) for inner in value]
    # Also of arrays without dimensions, which say that they can be iterated, and cannot.
    return value.item() if hasattr(value, "item") else value


_COUNTS = ("n_requested", "n_valid", "n_parse_failed", "n_timed_out")


def _plain_context(context: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: None if key != "query" and _is_missing(value) else value for key, value in context.items()}
    return {**known, "reference": reference_of(known.get("reference"))}


def _are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    try:
        return one == other
    except (TypeError, ValueError):
        # Arrays and their like have no equality that is true or false.
        return False


def _is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None, NaN, or pandas' own NA and NaT."""
    if value is None or type(value).__name__ == "NAType":
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        # Of arrays, which are no cells.
        return False


def _sentence(reason: Reason) -> str:
    return f"{reason.code}: {reason.detail}"
