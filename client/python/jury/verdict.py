"""What a judge answers. docs/verdict.md of the repository explains every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")

Status = Literal["OK", "PARTIAL", "UNSCORED"]
StoppedBy = Literal["complete", "lossless", "confidence", "width", "budget", "refused"]
Reproducible = Literal["BITWISE", "SEEDED", "NONE"]


@dataclass(frozen=True)
class Reason:
    """Why a response has no reward: a code for machines, a sentence for a person."""

    code: str
    detail: str


@dataclass(frozen=True)
class Failure:
    """Why a sample has no scores."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Counts:
    """Final outcomes of the samples.

    ``asked`` is the sum of ``valid``, ``parse_failed``, ``too_long``, ``timed_out``, ``failed`` and ``not_needed``;
    the other counts are parts of these.
    """

    asked: int
    valid: int
    voted: int
    forced: int
    parse_failed: int
    too_long: int
    timed_out: int
    failed: int
    not_needed: int
    spare: int = 0
    """Spare samples among ``asked``, drawn in the place of ones without scores."""
    neutralised: int = 0
    """Samples in whose prompts special tokens were neutralised, since the server that drew or ranked them takes text alone."""


@dataclass(frozen=True)
class Usage:
    """Tokens of the planned samples, each counted once."""

    prompt_tokens: int
    generated_tokens: int


@dataclass(frozen=True)
class Provenance:
    """Everything needed to draw the same samples again."""

    model: str | None
    model_digest: str | None
    numerics: str | None
    method_digest: str
    meta_digest: str | None
    seed: int
    settings: dict[str, Any]
    escaped_markers: int
    reproducible: Reproducible
    version: str
    voting: dict[str, Any] = field(default_factory=dict)
    """How the samples voted, with the defaults in force."""
    forced_panel: int | None = None
    """Most responses shown in one sample, where the model's context forced fewer than ``max_panel``."""
    item_digest: str | None = None
    """Digest of what was judged of the item, hex; ``None`` where the coordinator is too old to tell."""
    meta_numerics: str | None = None
    """Class of arithmetic of the model that ranked; ``None`` for a head, whose class is ``numerics``."""
    min_samples: int | None = None
    """Fewest valid samples, as asked for."""
    hinted: bool = False
    """Whether prompts named the best response."""


@dataclass(frozen=True)
class Run:
    """All that may differ between two runs of one request."""

    request_id: str
    queue_ms: int
    total_ms: int
    cached_tokens: int
    wasted_tokens: int
    reissued: int
    hedged: int
    workers: list[str]


@dataclass(frozen=True)
class Sample:
    """One drawn sample. ``scores[i]`` is of ``responses[order[i]]``; without scores there is a ``failure``."""

    index: int
    seed: int
    order: list[int]
    principles: str
    critique: str
    finish: str
    issues: list[str]
    prompt_tokens: int
    generated_tokens: int
    scores: list[float] | None = None
    score_distribution: list[list[float]] | None = None
    readout_mass: float | None = None
    forced: bool | None = None
    failure: Failure | None = None
    meta_score: float | None = None
    """What the Meta RM makes of it: higher is better. None: not ranked."""
    hidden_state: list[float] | None = None
    """The judge's last hidden state where the scores end. None: not asked for, or no scores."""


@dataclass(frozen=True)
class Verdict:
    """A reward for every response, in the caller's order, or the reason why there is none.

    A reward of None is *unscored*. Never read it as 0: a judge that failed is no bad response.
    """

    item_id: str
    status: Status
    rewards: list[float | None]
    reasons: list[Reason | None]
    """Parallel to ``rewards``: why one is None."""
    pick: int | None
    """Index of the best response; None for a single response, or without rewards."""
    tied: list[int]
    confidence: float | None
    agreement: float | None
    stopped_by: StoppedBy
    counts: Counts
    usage: Usage
    provenance: Provenance
    run: Run
    voters: list[int] = field(default_factory=list)
    """Indices of the samples that voted."""
    weights: list[float] = field(default_factory=list)
    """Parallel to ``voters``: how much each vote weighs. Empty: all the same."""
    meta_unavailable: str | None = None
    """Why the Meta RM that was asked for ranked nothing."""
    samples: list[Sample] | None = None
    """None when they were not asked for."""
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The verdict as ``jury score --json`` prints it."""

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Verdict:
        """Reads a verdict as ``jury score --json`` prints it."""
        samples = raw.get("samples")
        parts = {
            "reasons": [None if reason is None else _read(Reason, reason) for reason in raw["reasons"]],
            "counts": _read(Counts, raw["counts"]),
            "usage": _read(Usage, raw["usage"]),
            "provenance": _read(Provenance, raw["provenance"]),
            "run": _read(Run, raw["run"]),
            "samples": None if samples is None else [_sample(sample) for sample in samples],
        }
        return _read(cls, {**raw, **parts, "raw": raw})


@dataclass(frozen=True)
class Worker:
    """One worker, as its coordinator sees it. What is not yet known is empty."""

    worker_id: str
    address: str
    model: str
    model_digest: str
    numerics: str
    capacity: int
    running: int
    queued: int
    state: str
    state_detail: str
    version: str


@dataclass(frozen=True)
class Fleet:
    """The fleet and the load of one coordinator."""

    version: str
    requests_running: int
    requests_queued: int
    queue_limit: int
    directory: str
    directory_connected: bool
    workers: list[Worker]
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The same as ``jury status --json`` prints it."""

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Fleet:
        """Reads a fleet as ``jury status --json`` prints it."""
        workers = [_read(Worker, worker) for worker in raw["workers"]]
        return _read(cls, {**raw, "workers": workers, "raw": raw})


def _sample(raw: Mapping[str, Any]) -> Sample:
    failure = raw.get("failure")
    return _read(Sample, {**raw, "failure": None if failure is None else _read(Failure, failure)})


def _read(kind: type[T], raw: Mapping[str, Any]) -> T:
    """An instance of the dataclass ``kind``; keys that it does not know stay in ``raw`` alone."""
    known = {part.name for part in fields(cast(Any, kind))}
    return kind(**{name: value for name, value in raw.items() if name in known})
