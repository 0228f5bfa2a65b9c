"""The rule by which a judge is rewarded in reinforcement learning."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import _jury


def outcome_reward(item: str | Mapping[str, Any], order: Sequence[int], text: str) -> tuple[float, bool]:
    """What `jury train rl` makes of a judge's text: +1.0 where the best response has strictly the highest score, or a
    single one's score is its label of 0 or 1; else -1.0. Form alone earns nothing. The second value says whether the text
    had scores that could be read.

    `item` is an item, as a mapping or JSON, with `best` or `labels`; `order` has the indices of its responses as the prompt
    showed them. Raises ValueError for an item that tells nothing (no best, or several responses that are all one text), for
    an order of responses that are not there, and for one that compares nothing since it shows one text of several alone.
    """
    written = item if isinstance(item, str) else json.dumps(item)
    return _jury.outcome_reward(written, list(order), text)
