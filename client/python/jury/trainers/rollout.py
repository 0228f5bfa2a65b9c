"""What is judged of a rollout of NeMo-Gym, whose conversations are lists as OpenAI's Responses API has them.

==========================  ==========================================================================
``input``                   the query: messages are turns, ``function_call`` is a call of the
                            assistant's turn, ``function_call_output`` a turn of a tool
``instructions``            the system's turn before it
``response.output``         the response: the text of all the assistant's messages, refusals among it
``expected_answer``         the reference
``criteria``                where it is a list, in the place of the general criteria
==========================  ==========================================================================

Reasoning is not shown, nor are calls of tools in the output. Whatever else is no text is refused by its path, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InvalidArgument
from .rows import reference_of

_OF_THE_API = ("type", "id", "status", "phase")
"""Keys of a message that say nothing of what was said."""
_TEXT_OF = {"output_text": "text", "input_text": "text", "text": "text", "refusal": "refusal"}
"""Parts of a message that are text, and the key of that text."""


def item_of(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """The item. Raises InvalidArgument for an input that is neither said nor called."""
    created = rollout["responses_create_params"]
    given = created["input"]
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else _turns(given)
    if created.get("instructions"):
        turns.insert(0, {"role": "system", "content": created["instructions"]})
    item: dict[str, Any] = {"query": turns, "responses": [_text(rollout["response"]["output"])]}
    reference, criteria = reference_of(rollout.get("expected_answer")), rollout.get("criteria")
    if reference is not None:
        item["reference"] = reference
    if isinstance(criteria, list):
        item["criteria"] = criteria
    return item


def _turns(listed: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a model says and calls at once are items of their own in a list; here they are one turn."""
    turns: list[dict[str, Any]] = []
    for at, one in enumerate(listed):
        kind = one.get("type")
        if kind == "reasoning":
            continue
        if kind == "function_call":
            if not turns or turns[-1]["role"] != "assistant":
                turns.append({"role": "assistant", "content": None})
            call = {"function": {"name": one.get("name"), "arguments": one.get("arguments")}}
            turns[-1]["tool_calls"] = [*(turns[-1].get("tool_calls") or ()), call]
        elif kind == "function_call_output":
            turns.append({"role": "tool", "content": one.get("output")})
        elif one.get("role") is not None:
            turns.append({key: value for key, value in one.items() if key not in _OF_THE_API and value is not None})
        else:
            field = f"responses_create_params.input[{at}]"
            problem = f"is of type {kind!r}, which is no text; leave it out, or say in a message what came of it"
            raise InvalidArgument(f"{field}: {problem}", field=field)
    return turns


def _text(output: Sequence[Mapping[str, Any]]) -> str:
    """The text of all the assistant's messages. Agents also list what an environment said, as messages of other roles.

    A refusal is text as well. A message with text in an unknown form raises, because it would be judged as an empty one.
    """
    said = []
    for at, message in enumerate(output):
        if message.get("type") not in (None, "message") or message.get("role") != "assistant":
            continue
        content, place = message.get("content"), f"response.output[{at}].content"
        if content is None:
            continue
        if isinstance(content, str):
            said.append(content)
        elif isinstance(content, Sequence):
            said += [_text_of(part, f"{place}[{n}]") for n, part in enumerate(content)]
        else:
            raise _no_text(place)
    return "".join(said)


def _text_of(part: Any, place: str) -> str:
    text = part.get(_TEXT_OF.get(str(part.get("type")), "")) if isinstance(part, Mapping) else None
    if not isinstance(text, str):
        raise _no_text(place)
    return text


def _no_text(place: str) -> InvalidArgument:
    kinds = ", ".join(_TEXT_OF)
    return InvalidArgument(f"{place}: must be a text, or a list of parts of type {kinds}", field=place)
