"""From the delivery thread to the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable

from .progress import OnProgress, Progress

if TYPE_CHECKING:
    from ._jury import Call, Outcome


async def outcome_of(
    start: Callable[[Callable[[Outcome | int], None]], Call], on_progress: OnProgress | None = None
) -> Outcome:
    """Starts a call and awaits its outcome; cancelling the awaiting task cancels the call.

    ``on_progress`` is called on the loop. What it raises is raised here, and cancels the call.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome | Exception] = loop.create_future()

    def hear(told: Outcome | int) -> None:
        if future.done():
            return
        if not isinstance(told, int):
            future.set_result(told)
            return
        step = call.step(told)
        if step is None or on_progress is None:
            return
        try:
            on_progress(Progress(*step))
        except Exception as error:
            future.set_result(error)

    call = start(lambda told: soon(loop, hear, told))
    try:
        outcome = await future
    finally:
        call.cancel()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: Any) -> None:
    """Runs ``callback`` on the loop; not at all when the loop has been closed meanwhile."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise
