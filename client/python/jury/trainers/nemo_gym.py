"""NeMo-Gym: a resources server whose ``/verify`` is judged.

.. code-block:: yaml

    jury:
      resources_servers:
        jury:
          entrypoint: app.py        # from jury.trainers.nemo_gym import JuryServer; JuryServer.run_webserver()
          domain: other
          address: coordinator:7480
          settings: {k: 4}

The query is ``responses_create_params.input``, after ``instructions``; the response is the text of all messages in
``response.output``; reasoning and calls of tools are not shown. ``expected_answer`` is the reference, a list ``criteria`` takes the
place of the general criteria.

Where there is no reward, the row has what Gym's own servers write when a judge fails: ``_ng_failure_class`` is ``judge_failed``, and
``reward``, which Gym's schema wants, is 0.0. Gym looks at the class, and leaves the row out of all figures until it is
judged again. Needs NeMo-Gym, which takes Python 3.12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nemo_gym.base_resources_server import BaseResourcesServerConfig, BaseVerifyRequest, SimpleResourcesServer
from pydantic import ConfigDict, PrivateAttr
from starlette.responses import JSONResponse

from .judging import Judge
from .rows import Group, Row, per_row

PATIENCE_S = 600.0
"""Rollouts wait for a verification as long as it takes."""


class JuryServerConfig(BaseResourcesServerConfig):
    """Where the judge is, and how it judges."""

    address: str
    """Of a coordinator; several, comma-separated, share the load."""
    settings: dict[str, Any] = {}
    """Settings of every call, such as ``k`` and ``budget``."""
    patience: float = PATIENCE_S
    """Seconds for which a judge that is away is waited for."""


class JuryVerifyRequest(BaseVerifyRequest):
    """A rollout with whatever else its row of the dataset has."""

    model_config = ConfigDict(extra="allow")


class JuryServer(SimpleResourcesServer):
    """Judges rollouts."""

    config: JuryServerConfig
    _judge: Judge | None = PrivateAttr(default=None)

    async def verify(self, body: JuryVerifyRequest) -> JSONResponse:  # type: ignore[override, unused-ignore]
        """The body with ``reward`` and ``verdict``."""
        if self._judge is None:
            self._judge = Judge(self.config.address, self.config.patience, **self.config.settings)
        rollout = body.model_dump(mode="json")
        group = Group([0], item_of(rollout))
        (row,) = per_row([group], await self._judge.ajudge([group.item]))
        return JSONResponse({**rollout, **told(row)})


def item_of(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """What is judged of a rollout."""
    created = rollout["responses_create_params"]
    given = created["input"]
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else [_turn(one) for one in given if "role" in one]
    if created.get("instructions"):
        turns.insert(0, {"role": "system", "content": created["instructions"]})
    item: dict[str, Any] = {"query": turns, "responses": [_text(rollout["response"]["output"])]}
    reference, criteria = rollout.get("expected_answer"), rollout.get("criteria")
    if reference is not None:
        item["reference"] = str(reference)
    if isinstance(criteria, list):
        item["criteria"] = criteria
    return item


def told(row: Row) -> dict[str, Any]:
    """What Gym is told of a row."""
    verdict = None if row.verdict is None else row.verdict.raw
    if row.reward is not None:
        return {"reward": row.reward, "verdict": verdict}
    failure = {"_ng_failure_class": "judge_failed", "_ng_failure_judge_error": row.reason}
    return {"reward": 0.0, "verdict": verdict, **failure}


def _turn(message: Mapping[str, Any]) -> dict[str, str]:
    content = message["content"]
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return {"role": message["role"], "content": content}


def _text(output: Sequence[Mapping[str, Any]]) -> str:
    """The text of all messages, as Gym's own judges take it."""
    messages = [part for part in output if part.get("type") == "message"]
    contents = [content for message in messages for content in message["content"]]
    return "".join(content["text"] for content in contents if content.get("type") == "output_text")
