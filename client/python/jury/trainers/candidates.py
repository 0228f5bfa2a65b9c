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
        if len(self._shown) == 1:
            return False
        index = self._named(error)
        if index is not None:
            why = self.by_place(error)
        elif error.field == "item":
            # More bytes than an item may have.
            sizes = [_size(self._item["responses"][place]) for place in self._shown]
            index = sizes.index(max(sizes))
            field = f"item.responses[{self._shown[index]}]"
            why = InvalidArgument(f"{field}: is the longest response left; {error.message}", field=field)
        else:
            return False
        self.left_out[self._shown.pop(index)] = why
        return True

    def by_place(self, error: InvalidArgument) -> InvalidArgument:
        """The same error, its response named by the place that it had at first."""
        index = self._named(error)
        if index is None:
            return error
        shown, first = (f"item.responses[{number}]" for number in (index, self._shown[index]))
        message, field = (text.replace(shown, first, 1) for text in (error.message, error.field or ""))
        return InvalidArgument(message, field=field, attempts=error.attempts)

    def _named(self, error: InvalidArgument) -> int | None:
        named = re.match(r"item\.responses\[(\d+)\]", error.field or "")
        index = None if named is None else int(named.group(1))
        return index if index is not None and index < len(self._shown) else None


def _size(response: Any) -> int:
    return len(json.dumps(response, ensure_ascii=False).encode(errors="replace"))
