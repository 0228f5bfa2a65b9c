"""AReaL: a workflow that awaits its rewards, without the process pool and the 15 seconds of AReaL's reward functions.

>>> trainer.train(
...     workflow="jury.trainers.areal_workflow.JuryWorkflow",
...     workflow_kwargs={"address": "coordinator:7480", "k": 4, "gconfig": config.gconfig, "tokenizer": config.tokenizer_path},
... )

As many rollouts as there are wait for the judge at once, each for as long as its budget and ``patience`` take. What cannot be
scored raises ``Unscored``: AReaL rejects the whole group, and another prompt takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from areal.workflow.rlvr import RLVRWorkflow

from ..client import Client
from .areal import groups_of
from .judging import Judge
from .rows import END_TOKENS, checked_end_tokens, per_row, reward_of

PATIENCE_S = 600.0
_OF_AREAL = ("enable_thinking", "get_input_ids_fn", "data_extract_prompt_fn")


class JuryWorkflow(RLVRWorkflow):
    """``RLVRWorkflow`` with a judge for its reward function; ``enable_thinking`` and the like are its own options."""

    def __init__(
        self,
        gconfig: Any,
        tokenizer: Any,
        address: Client | str | None = None,
        *,
        reference: str | None = None,
        fallback: float | None = None,
        patience: float = PATIENCE_S,
        end_tokens: Sequence[str] = END_TOKENS,
        **settings: Any,
    ) -> None:
        """``reference`` is the column of the dataset that holds a ground-truth answer."""
        of_areal = {name: settings.pop(name) for name in _OF_AREAL if name in settings}
        # A name is imported when the first episode begins, so AReaL makes no pool for it here.
        super().__init__(reward_fn=__name__, gconfig=gconfig, tokenizer=tokenizer, **of_areal)
        self._judge = Judge(address, patience, has_fallback=fallback is not None, **settings)
        self._reference = reference
        self._fallback = fallback
        self._end_tokens = checked_end_tokens(end_tokens)
        self.reward_fn = self.async_reward_fn = self._reward

    async def _reward(
        self,
        prompt: str,
        completions: str,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        /,
        **columns: Any,
    ) -> float:
        groups = groups_of(prompt, completions, columns, self._reference, self._end_tokens)
        (row,) = per_row(groups, await self._judge.ajudge([group.item for group in groups]))
        return reward_of(row, self._fallback)
