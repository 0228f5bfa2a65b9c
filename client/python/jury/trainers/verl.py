"""verl: a custom reward function, one response a call.

.. code-block:: yaml

    reward:
      custom_reward_function:
        path: pkg://jury.trainers.verl
        name: compute_score
        reward_kwargs: {address: "coordinator:7480", k: 4, query_key: question}

verl does not hand the prompt to a reward function: it must be in the dataset's ``extra_info``, under ``query_key``. The
reward manager of :mod:`jury.trainers.verl_manager` sees the prompt itself.

A response that cannot be scored raises ``Unscored``: the trainer of verl 0.9 (V1) then fails its prompt's group. With
``fallback`` it gets that number instead, with ``valid`` 0 beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidArgument
from .judging import Judge
from .rows import grouped, numbers, per_row, plain, reward_of

PATIENCE_S = 300.0


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None,
    *,
    address: str | None = None,
    query_key: str = "question",
    use_ground_truth: bool = False,
    fallback: float | None = None,
    patience: float = PATIENCE_S,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **settings: Any,
) -> dict[str, float]:
    """The score of one response, with numbers under the same keys for every response."""
    query = (extra_info or {}).get(query_key)
    if query is None:
        problem = f"extra_info has no {query_key!r}: name the key of the prompt in query_key, or use the reward manager"
        raise InvalidArgument(problem, field="item.query")
    reference = ground_truth if use_ground_truth else None
    judge = Judge(address, patience, has_fallback=fallback is not None, **plain(settings))
    return await score(judge, query, solution_str, reference, fallback)


async def score(
    judge: Judge, query: str | Sequence[Any], response: str, reference: Any, fallback: float | None
) -> dict[str, float]:
    """What function and manager share."""
    groups = grouped([{"query": plain(query), "reference": reference}], [response])
    (row,) = per_row(groups, await judge.ajudge([group.item for group in groups]))
    return {"score": reward_of(row, fallback), **numbers(row)}
