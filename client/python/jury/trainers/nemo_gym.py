"""NeMo-Gym: a resources server whose ``/verify`` is judged.

.. code-block:: yaml

    jury:
      resources_servers:
        jury:
          entrypoint: app.py        # from jury.trainers.nemo_gym import JuryServer; JuryServer.run_webserver()
          domain: other
          address: coordinator:7480
          settings: {k: 4}

:mod:`jury.trainers.rollout` says what is judged of a rollout.

Where there is no reward, the row has what Gym's own servers write when a judge fails: ``_ng_failure_class`` is ``judge_failed``, and
``reward``, which Gym's schema wants, is 0.0. Gym looks at the class, and leaves the row out of all figures until it is
judged again. Needs NeMo-Gym, which takes Python 3.12.
"""

from __future__ import annotations

from typing import Any

from nemo_gym.base_resources_server import BaseResourcesServerConfig, BaseVerifyRequest, SimpleResourcesServer
from pydantic import ConfigDict, PrivateAttr
from starlette.responses import JSONResponse

from ..errors import InvalidArgument
from .judging import Judge
from .rollout import item_of
from .rows import Group, Row, per_row, said

PATIENCE_S = 600.0
"""Rollouts wait for a verification as long as it takes."""


class JuryServerConfig(BaseResourcesServerConfig):
    """Where the judge is, and how it judges."""

    address: str
    """Of a coordinator."""
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
    _judge: Judge = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Makes the judge, so that a setting that is refused stops the server before its first rollout."""
        super().model_post_init(context)
        self._judge = Judge(
            self.config.address, self.config.patience, has_fallback=True, **self.config.settings
        )

    async def verify(self, body: JuryVerifyRequest) -> JSONResponse:  # type: ignore[override, unused-ignore]
        """The body with ``reward`` and ``verdict``."""
        rollout = body.model_dump(mode="json")
        return JSONResponse({**rollout, **told(await judged(self._judge, rollout))})


async def judged(judge: Judge, rollout: dict[str, Any]) -> Row:
    """What a rollout got."""
    try:
        group = Group([0], item_of(rollout))
    except InvalidArgument as error:
        return Row(None, said(error), None)
    (row,) = per_row([group], await judge.ajudge([group.item]))
    return row


def told(row: Row) -> dict[str, Any]:
    """What Gym is told of a row."""
    verdict = None if row.verdict is None else row.verdict.raw
    if row.reward is not None:
        return {"reward": row.reward, "verdict": verdict}
    failure = {"_ng_failure_class": "judge_failed", "_ng_failure_judge_error": row.reason}
    return {"reward": 0.0, "verdict": verdict, **failure}
