"""verl: a reward manager, which sees the prompt itself.

.. code-block:: yaml

    reward:
      reward_manager:
        source: importlib
        name: JuryRewardManager
        module: {path: "pkg://jury.trainers.verl_manager"}
      custom_reward_function:
        reward_kwargs: {address: "coordinator:7480", k: 4}

Options are those of :func:`jury.trainers.verl.compute_score`, but ``query_key``.
"""

from __future__ import annotations

from typing import Any

from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from .judging import Judge
from .rows import plain
from .verl import PATIENCE_S, score


class JuryRewardManager(RewardManagerBase):
    """Judges the last output of a trajectory against the conversation that led to it."""

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        chosen = config.reward.get("custom_reward_function") or {}
        options = plain(dict(chosen.get("reward_kwargs") or {}))
        address: str | None = options.pop("address", None)
        self._use_ground_truth = bool(options.pop("use_ground_truth", False))
        self._fallback: float | None = options.pop("fallback", None)
        patience = float(options.pop("patience", PATIENCE_S))
        self._judge = Judge(address, patience, has_fallback=self._fallback is not None, **options)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward of one trajectory."""
        item = data[-1:][0]
        response_ids = item.batch["responses"]
        n_valid = int(item.batch["attention_mask"][-response_ids.shape[-1] :].sum())
        response = await self._decoded(response_ids[:n_valid])
        query = item.non_tensor_batch.get("raw_prompt")
        if query is None:
            query = await self._decoded(item.batch["prompts"])
        reference = None
        if self._use_ground_truth:
            reference = item.non_tensor_batch["reward_model"]["ground_truth"]
        told = await score(self._judge, query, response, reference, self._fallback)
        return {"reward_score": told["score"], "reward_extra_info": told}

    async def _decoded(self, ids: Any) -> str:
        decode = self.tokenizer.decode
        text: str = await self.loop.run_in_executor(None, lambda: decode(ids, skip_special_tokens=True))
        return text
