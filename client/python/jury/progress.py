"""How far a call is, for whoever waits for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "prefill", "drawing"]
"""Waiting for admission or a worker; a worker reads the prompt; samples are being drawn."""


@dataclass(frozen=True)
class Progress:
    """How far one item is. A snapshot: it takes the place of earlier ones."""

    index: int
    """The item's place in the batch, from 0; 0 for a single item."""
    phase: Phase
    samples_done: int
    """Planned samples that came to their end, scored or not; at most ``samples_asked``."""
    samples_asked: int
    """Samples planned: ``k``, and the spare ones drawn so far. Starts anew when the model's context forces smaller panels."""
    generated_tokens: int
    """Tokens generated so far, by all samples. Falls when a worker is lost with its samples."""


OnProgress = Callable[[Progress], object]
"""Hears progress. What it raises ends the call: see ``Client.score``."""

OnStep = Callable[[int, Phase, int, int, int], object]
"""The same for the native part, with the place among its requests."""


def check_on_progress(on_progress: OnProgress | None) -> None:
    """Raises TypeError for what cannot be called, and for a coroutine function, which nobody would await."""
    if on_progress is None:
        return
    if not callable(on_progress):
        raise TypeError(f"on_progress: must be a function of a jury.Progress, is {on_progress!r}")
    if inspect.iscoroutinefunction(on_progress) or inspect.iscoroutinefunction(type(on_progress).__call__):
        raise TypeError("on_progress: must be an ordinary function, is a coroutine function; start a task in it")


def on_step_of(on_progress: OnProgress | None) -> OnStep | None:
    """What brings the steps of a single item to ``on_progress``."""
    if on_progress is None:
        return None
    tell = on_progress
    return lambda *step: tell(Progress(*step))
