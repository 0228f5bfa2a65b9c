"""Many items over one stream: items in, answers out of order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

from . import _jury
from ._asyncio import soon
from .errors import InvalidArgument, JuryError, from_fault
from .progress import OnProgress, Phase, Progress
from .request import AnyItem, make_request
from .verdict import Verdict


@dataclass(frozen=True)
class Answer:
    """What came of one item of a batch: a verdict or an error, never both."""

    index: int
    """The item's place in the batch, from 0."""
    verdict: Verdict | None
    error: JuryError | None

    def get(self) -> Verdict:
        """The verdict; raises the error when there is none."""
        if self.verdict is not None:
            return self.verdict
        assert self.error is not None
        raise self.error


AnyItems = Union[Iterable[AnyItem], AsyncIterable[AnyItem]]


class _Book:
    """Which item each pushed request stands for. Items that are malformed are never pushed."""

    def __init__(
        self, batch: _jury.Batch, address: str, settings: Mapping[str, Any], on_progress: OnProgress | None
    ) -> None:
        self._batch = batch
        self._on_progress = on_progress
        self._address = address
        self._settings = settings
        self._indices: dict[int, int] = {}
        self._pushed = 0
        self._next_index = 0

    def push(self, item: AnyItem) -> Answer | None:
        """Sends the next item; an answer when it is malformed. There must be room."""
        index = self._next_index
        self._next_index += 1
        try:
            request = make_request(item, self._settings)
        except InvalidArgument as error:
            return Answer(index, None, error)
        # Without room the stream has ended early, and what is unanswered is told at its end.
        self._batch.push(request)
        self._indices[self._pushed] = index
        self._pushed += 1
        return None

    def step(self, place: int, phase: Phase, done: int, asked: int, tokens: int) -> None:
        """Tells how far a pushed item is."""
        index = self._indices.get(place)
        # Of an item that is answered already, nothing is told.
        if index is not None and self._on_progress is not None:
            self._on_progress(Progress(index, phase, done, asked, tokens))

    def answer(self, answer: _jury.Answer) -> Answer:
        place, (text, fault) = answer
        index = self._indices.pop(place)
        if text is None:
            assert fault is not None
            return Answer(index, None, from_fault(fault, self._address))
        return Answer(index, Verdict.from_dict(json.loads(text)), None)


def score_many(
    link: _jury.Link,
    address: str,
    items: Iterable[AnyItem],
    settings: Mapping[str, Any],
    on_progress: OnProgress | None,
) -> Iterator[Answer]:
    """Answers as they are ready. Takes from ``items`` while there is room, and answers are not there yet."""
    batch = link.score_many(on_progress is not None, None)
    book = _Book(batch, address, settings, on_progress)
    source = iter(items)
    has_more = True
    try:
        while True:
            if has_more and batch.has_room():
                try:
                    item = next(source)
                except StopIteration:
                    has_more = False
                    batch.end()
                    continue
                refused = book.push(item)
                if refused is not None:
                    yield refused
                answer = batch.poll(book.step)
                if answer is None:
                    continue
            else:
                answer = batch.wait(book.step)
                if answer is None:
                    return
            yield book.answer(answer)
    finally:
        batch.cancel()


async def ascore_many(
    link: _jury.Link,
    address: str,
    items: AnyItems,
    settings: Mapping[str, Any],
    on_progress: OnProgress | None,
) -> AsyncIterator[Answer]:
    """The same on an event loop; items may come asynchronously."""
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[_jury.Answer | int | None] = asyncio.Queue()
    batch = link.score_many(on_progress is not None, lambda one: soon(loop, told.put_nowait, one))
    book = _Book(batch, address, settings, on_progress)
    source = _asynchronous(items)
    taking: asyncio.Task[AnyItem] | None = None
    waiting: asyncio.Task[_jury.Answer | int | None] | None = None
    has_more = True
    try:
        while True:
            if taking is None and has_more and batch.has_room():
                taking = asyncio.ensure_future(_next(source))
            if waiting is None:
                waiting = asyncio.ensure_future(told.get())
            tasks = [task for task in (taking, waiting) if task is not None]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if taking is not None and taking.done():
                try:
                    refused = book.push(taking.result())
                except StopAsyncIteration:
                    has_more = False
                    batch.end()
                else:
                    if refused is not None:
                        yield refused
                taking = None
            if waiting.done():
                one = waiting.result()
                waiting = None
                if one is None:
                    return
                if isinstance(one, int):
                    step = batch.step(one)
                    if step is not None:
                        book.step(*step)
                else:
                    yield book.answer(one)
    finally:
        batch.cancel()
        for task in (taking, waiting):
            if task is not None:
                task.cancel()


async def _asynchronous(items: AnyItems) -> AsyncIterator[AnyItem]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _next(source: AsyncIterator[AnyItem]) -> AnyItem:
    return await source.__anext__()
