"""The responses of an item, fewer by each that a refusal is about: one malformed candidate costs the others nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidArgument


class Candidates:
    """An item, without the responses that it was refused for."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self._item = item
        self._shown = list(range(len(item["responses"])))
        self.left_out: dict[int, InvalidArgument] = {}
        """Why responses were left out, by their place."""

    def item(self) -> dict[str, Any]:
        """What is judged."""
        responses = self._item["responses"]
        return {**self._item, "responses": [responses[place] for place in self._shown]}

    def leave_out(self, error: InvalidArgument) -> bool:
        """Leaves out the response that ``error`` is about; true where one was found, and others can be judged without it."""
        index = self._at_fault(error.field or "")
        if index is None:
            return False
        place = self._shown.pop(index)
        self.left_out[place] = _of_place(error, index, place)
        return bool(self._shown)

    def _at_fault(self, field: str) -> int | None:
        named = re.match(r"item\.responses\[(\d+)\]", field)
        if named is not None and int(named.group(1)) < len(self._shown):
            return int(named.group(1))
        if field == "item":
            # More bytes than an item may have.
            sizes = [_size(self._item["responses"][place]) for place in self._shown]
            return sizes.index(max(sizes))
        return None


def _of_place(error: InvalidArgument, index: int, place: int) -> InvalidArgument:
    """The same error by the place that the response had at first."""
    field = f"item.responses[{place}]"
    if error.field == "item":
        return InvalidArgument(f"{field}: is the longest response left; {error.message}", field=field)
    refused_as = f"item.responses[{index}]"
    message, path = (text.replace(refused_as, field, 1) for text in (error.message, error.field or ""))
    return InvalidArgument(message, field=path)


def _size(response: Any) -> int:
    return len(json.dumps(response, ensure_ascii=False).encode(errors="replace"))
