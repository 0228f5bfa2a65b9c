"""Items and settings, and the request that they make."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Literal, TypedDict, Union

from ._jury import Request, parse
from .errors import InvalidArgument, JuryError, from_fault
from .plain import first_fault

Readout = Literal["expected", "sampled", "free"]
"""How scores are read: as the mean of each score's distribution, drawn from it, or from the judge's own text."""


class Scale(TypedDict):
    """The legal scores: every integer from ``min`` to ``max``, 0 to 100."""

    min: int
    max: int


class Stop(TypedDict, total=False):
    """Stop drawing once the pick is known with this probability, or every reward this narrowly: one of the two."""

    confidence: float
    width: float


class Voting(TypedDict, total=False):
    """How the drawn samples become rewards."""

    meta: str
    """Name of the Meta RM that ranks the samples. Default: nobody ranks."""
    rule: Literal["mean", "top", "majority", "weighted"]
    """How samples vote. Default ``"top"`` with a Meta RM, else ``"mean"``."""
    k_meta: int
    """Samples that vote under ``"top"``, 1 to k. Default: half of k."""
    stop: Literal["never", "lossless"] | Stop
    """When to stop drawing before all samples are there. Default ``"never"``."""
    refill: int
    """Spare samples, one for each whose own text gave no scores. Default 0."""


class JudgeSettings(TypedDict, total=False):
    """What any judge can be told, as keyword arguments. What is left out takes the default of the contract."""

    k: int
    """Samples to draw, 1 to 256. Default 8; choose a multiple of the number of responses."""
    temperature: float
    """Softmax temperature, 0 to 2. Default 0.5."""
    top_p: float
    """Nucleus mass, above 0 and at most 1. Default 1."""
    max_critique_tokens: int
    """Most tokens of principles and critique, 1 to 16384. Default 512."""
    readout: Readout
    """How scores are read. Default ``"expected"``."""
    min_readout_mass: float
    """A guided read-out fails below this probability of the legal scores, 0 to 1. Default 0.01."""
    scale: Scale | tuple[int, int]
    """The legal scores. Default 1 to 10."""
    max_panel: int
    """Most responses shown in one sample, 2 to 64. Default 8."""
    seed: int
    """The same request with the same seed gives the same verdict. Below 2**53, default 0."""
    min_samples: int
    """Fewest valid samples worth a verdict. Default: half of k, rounded up."""
    voting: Voting
    """How the drawn samples become rewards."""
    budget: float
    """Seconds until the answer, with whatever samples there are. Default 60."""
    include_samples: bool
    """Whether the verdict carries its samples. Default False."""
    include_hidden_states: bool
    """Whether these samples carry the hidden states that a head is trained on. Default False."""
    hinted: bool
    """Whether prompts tell which response is best: for rejective fine-tuning's data alone. Default False."""
    request_id: str
    """The caller's idempotency key, together with the item's id, at most 256 bytes each."""


class Settings(JudgeSettings, total=False):
    """What a call can be told: :class:`JudgeSettings`, and which model of a fleet."""

    model: str
    """Name of the model that must judge. Default: the fleet's only model."""


class Turn(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str


class _Required(TypedDict):
    query: str | Sequence[Turn]
    responses: Sequence[str]


class Item(_Required, total=False):
    """A query with its candidate responses, 1 to 64."""

    id: str
    source: str
    reference: str
    criteria: Sequence[str]
    principles: Sequence[str]
    best: int
    labels: Sequence[float]
    category: str


AnyItem = Union[Item, Mapping[str, Any], "tuple[str | Sequence[Turn], Sequence[str]]"]
"""An item as a dict, or a query and its responses."""

_SAMPLING = (
    "k",
    "temperature",
    "top_p",
    "max_critique_tokens",
    "readout",
    "min_readout_mass",
    "scale",
    "max_panel",
)
_CALL = (
    "seed",
    "min_samples",
    "voting",
    "model",
    "include_samples",
    "include_hidden_states",
    "hinted",
    "request_id",
)
_KNOWN = (*_SAMPLING, *_CALL, "budget")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises TypeError for a setting that does not exist."""
    for name in settings:
        if name not in _KNOWN:
            raise TypeError(f"there is no setting {name!r}; there are {', '.join(_KNOWN)}")


def make_request(item: AnyItem, settings: Mapping[str, Any]) -> Request:
    """A request that is well-formed. Raises InvalidArgument, which names the field."""
    message: dict[str, Any] = {name: settings[name] for name in _CALL if name in settings}
    sampling = {name: settings[name] for name in _SAMPLING if name in settings}
    scale = sampling.get("scale")
    if isinstance(scale, (tuple, list)) and len(scale) == 2:
        sampling["scale"] = {"min": scale[0], "max": scale[1]}
    budget = settings.get("budget")
    if budget is not None:
        message["budget_ms"] = _milliseconds(budget)
    message["settings"] = sampling
    message["item"] = _item(item)
    try:
        text = json.dumps(message, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _not_plain(message) or InvalidArgument(f"the request is not plain data: {error}") from None
    request, unknown_keys, fault = parse(text)
    if request is None:
        assert fault is not None
        refused = from_fault(fault)
        # A fault of the JSON itself has no field, but a line and a column of a text that the caller never saw.
        raise refused if _has_field(refused) else _not_plain(message) or refused
    for key in unknown_keys:
        warnings.warn(f"nobody looks at the key {key!r}", stacklevel=4)
    return request


def _item(item: AnyItem) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, tuple) and len(item) == 2:
        query, responses = item
        return {"query": query, "responses": _listed(responses)}
    raise _invalid("item", f"must be a dict, or a tuple of query and responses, is {type(item).__name__}")


def _listed(responses: Any) -> list[Any]:
    """Rewards come in the order of responses, so these have one."""
    if isinstance(responses, (str, bytes)):
        raise _invalid("item.responses", "must be a list of texts, is one text")
    if isinstance(responses, (Mapping, Set)) or not isinstance(responses, Iterable):
        raise _invalid("item.responses", f"must be a list of texts in the order of rewards, is {type(responses).__name__}")
    return list(responses)


def _not_plain(message: Mapping[str, Any]) -> InvalidArgument | None:
    found = first_fault(message)
    return None if found is None else _invalid(*found)


def _has_field(error: JuryError) -> bool:
    return isinstance(error, InvalidArgument) and error.field is not None


def _milliseconds(budget: float) -> int:
    if not 0 < budget < float("inf"):
        raise _invalid("budget", f"must be a positive number of seconds, is {budget}")
    return max(1, round(budget * 1000))


def _invalid(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {problem}", field=field)
