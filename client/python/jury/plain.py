"""What in a value is not plain data, that is, has no JSON that another program could read.

It is asked only of what has failed already: the encoder says that something is wrong, and not where.
"""

from __future__ import annotations

import math
import re
from typing import Any

MAX_DEPTH = 100
"""Most levels of lists and dicts; readers of JSON take about so many."""

Fault = tuple[str, str]
"""A path, such as ``item.responses[1]``, and what is wrong there."""


def first_fault(value: Any, path: str = "", depth: int = 0) -> Fault | None:
    """The first part that is not plain, depth first; None where all is plain."""
    if isinstance(value, str):
        return _fault_of_text(value, path)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if abs(value) < 2**64 else (path, f"must be a number below 2^64, has {value.bit_length()} bits")
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, f"must be a finite number, is {value}")
    if not isinstance(value, (dict, list, tuple)):
        return path, f"must be plain data (texts, numbers, lists, dicts), is {_kind(value)}"
    if depth == MAX_DEPTH:
        return _beginning(path), f"holds lists or dicts within each other, more than {MAX_DEPTH} of them, or itself"
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or _half_of_a_character(key):
                return path, f"must have texts for keys, has {key!a}"
        inside = [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
    else:
        inside = [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
    faults = (first_fault(inner, inner_path, depth + 1) for inner_path, inner in inside)
    return next((fault for fault in faults if fault is not None), None)


def _fault_of_text(text: str, path: str) -> Fault | None:
    half = _half_of_a_character(text)
    if half is None:
        return None
    problem = f"holds half a character (\\u{ord(half.group()):04x} at {half.start()})"
    return path, f"{problem}; text.encode(errors='replace').decode() puts a ? in its place"


def _half_of_a_character(text: str) -> re.Match[str] | None:
    return re.search("[\ud800-\udfff]", text)


def _kind(value: Any) -> str:
    return "bytes; decode them" if isinstance(value, (bytes, bytearray)) else type(value).__name__


def _beginning(path: str) -> str:
    """The part of a path that a person can read."""
    return ".".join(path.split(".")[:2]).split("[")[0]
