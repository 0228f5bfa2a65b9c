"""The scorer in a task of the installed verifiers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import jury
from jury.trainers.verifiers import Scorer

pytest.importorskip("verifiers")


def test_a_task_is_scored_or_ends_with_an_error(tiny: jury.Client) -> None:
    import verifiers.v1 as vf

    score = Scorer(tiny, patience=0)

    class Judged(vf.Task):
        @vf.reward
        async def jury(self, trace: vf.Trace) -> float:
            return await score(self.data, trace)

    def scored(reply: str) -> Any:
        trace = vf.Trace.model_construct(root_reply=reply)
        asyncio.run(Judged(vf.TaskData(prompt="p")).score(trace))
        return trace

    expected = tiny.score("p", ["one"]).rewards[0]
    assert scored("one").reward == expected
    with pytest.raises(Exception, match="too_long"):
        scored("r" * 9000)
