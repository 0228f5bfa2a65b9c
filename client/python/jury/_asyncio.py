"""From the delivery thread to the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ._jury import Call, Outcome


async def outcome_of(start: Callable[[Callable[[Outcome], None]], Call]) -> Outcome:
    """Starts a call and awaits its outcome; cancelling the awaiting task cancels the call."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome] = loop.create_future()

    def settle(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    call = start(lambda outcome: soon(loop, settle, outcome))
    try:
        return await future
    finally:
        call.cancel()


def soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: Any) -> None:
    """Runs ``callback`` on the loop; not at all when the loop has been closed meanwhile."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise
