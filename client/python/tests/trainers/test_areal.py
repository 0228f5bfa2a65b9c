"""The reward function in the process pool of the installed AReaL."""

from __future__ import annotations

import asyncio

import pytest

import jury
from jury.trainers import Unscored
from jury.trainers.areal import RewardFunction

pytest.importorskip("areal")

TOO_LONG = "r" * 9000


def test_the_pool_gets_the_reward_or_the_exception_and_never_a_silent_0(tiny: jury.Client) -> None:
    from areal.api.reward_api import AsyncRewardWrapper

    async def main() -> None:
        wrapper = AsyncRewardWrapper(RewardFunction(tiny), max_workers=1, max_retries=1)
        given = await wrapper("p", "one", [1], [2], answer="4")
        assert given == tiny.score("p", ["one"]).rewards[0]
        with pytest.raises(Unscored, match="too_long"):
            await wrapper("p", TOO_LONG, [1], [2])

    asyncio.run(main())
