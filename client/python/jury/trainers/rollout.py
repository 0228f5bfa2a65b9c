"""What is judged of a rollout of NeMo-Gym, whose conversations are lists as OpenAI's Responses API has them.

==========================  ==========================================================================
``input``                   the query: messages are turns, ``function_call`` is a call of the
                            assistant's turn, ``function_call_output`` a turn of a tool
``instructions``            the system's turn before it
``response.output``         the response: the text of all messages, refusals among it
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
_TEXT_OF = {"output_text": "text", "refusal": "refusal"}
"""Parts of an output that are said, and the key of what they say."""


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
    """The text of all messages, as Gym's own judges take it. A refusal is a text, too: without it, an empty response would be judged."""
    messages = [part for part in output if part.get("type") == "message"]
    contents = [content for message in messages for content in message["content"]]
    return "".join(content[key] for content in contents if (key := _TEXT_OF.get(content.get("type"))) is not None)
