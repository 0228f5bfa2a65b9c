"""Clients of a coordinator, sync and async."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _jury
from ._asyncio import outcome_of
from .batch import Answer, AnyItems, ascore_many, score_many
from .errors import from_fault
from .progress import OnProgress, check_on_progress, on_step_of
from .request import AnyItem, Settings, Turn, check_settings, make_request
from .tls import Tls
from .tls import of as tls_of
from .token import Token, may_go_without_tls
from .token import of as token_of
from .verdict import Fleet, Verdict

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_ADDRESS = "127.0.0.1:7480"


class _Base:
    """What both clients share: the address, the settings, and the link that the first call uses."""

    def __init__(
        self,
        address: str | None = None,
        *,
        in_flight: int | None = None,
        tls: Tls | None = None,
        token: str | Token | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        check_settings(settings)
        self._address = address or os.environ.get("JURY_ENDPOINT") or DEFAULT_ADDRESS
        self._in_flight = in_flight
        self._tls = tls_of(self._address, tls)
        self._token = token_of(token)
        self._settings: Mapping[str, Any] = dict(settings)
        self._link = self._open()

    @property
    def address(self) -> str:
        """The coordinator's address."""
        return self._address

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of every call that has no others."""
        return self._settings

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self._settings.items())
        return f"jury.{type(self).__name__}({self._address!r}{settings})"

    def __reduce__(self) -> tuple[Any, ...]:
        where = (self._address, self._in_flight, self._tls, self._token)
        return _again, (type(self), *where, self._settings)

    def _open(self) -> _jury.Link:
        if self._in_flight is not None and self._in_flight < 1:
            raise ValueError(f"in_flight: must be at least 1, is {self._in_flight}")
        return _link(self._address, self._in_flight, self._tls, self._token)

    def _merged(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        check_settings(settings)
        return {**self._settings, **settings}

    def _request(
        self, item: Any, responses: Sequence[str] | None, settings: Mapping[str, Any]
    ) -> _jury.Request:
        whole = item if responses is None else (item, responses)
        return make_request(whole, self._merged(settings))

    def _read(self, outcome: _jury.Outcome) -> Any:
        text, fault = outcome
        if text is None:
            assert fault is not None
            raise from_fault(fault, self._address)
        return json.loads(text)

    async def _score(
        self,
        item: Any,
        responses: Sequence[str] | None,
        settings: Mapping[str, Any],
        on_progress: OnProgress | None,
    ) -> Verdict:
        check_on_progress(on_progress)
        request = self._request(item, responses, settings)
        with_progress = on_progress is not None
        outcome = await outcome_of(
            lambda on_done: self._link.score(request, with_progress, on_done), on_progress
        )
        return Verdict.from_dict(self._read(outcome))

    def _ascore_many(
        self, items: AnyItems, settings: Mapping[str, Any], on_progress: OnProgress | None
    ) -> AsyncIterator[Answer]:
        check_on_progress(on_progress)
        return ascore_many(self._link, self._address, items, self._merged(settings), on_progress)

    async def _status(self) -> Fleet:
        return Fleet.from_dict(self._read(await outcome_of(self._link.status)))


class Client(_Base):
    """Calls one coordinator.

    >>> client = jury.Client("127.0.0.1:7480", k=4)
    >>> client.score("What is the capital of France?", ["Paris.", "Lyon."]).rewards
    [8.1, 2.4]

    Nothing is connected before the first call. Each process has a connection of its own, so a client may be used after
    a fork, and pickled into other processes: only its address, token and settings travel. Threads may share it. Proxies of
    the environment are not looked at.

    ``address`` is ``host:port``, ``http://host:port`` or, with TLS, ``https://host:port``; default: ``JURY_ENDPOINT``, else
    127.0.0.1:7480. ``tls`` has the certificates for it; default: the variables that :class:`Tls` names. ``token`` is your
    tenant's, where the coordinator has tenants; default: ``JURY_TOKEN``, else the file that ``JURY_TOKEN_FILE`` names. It is
    sent over TLS or on this machine alone, unless ``JURY_ALLOW_TOKEN_WITHOUT_TLS`` is set. ``in_flight`` is how many items
    of a batch are unanswered at a time; default: as many as the fleet draws without any of them spending its budget behind
    others. All other arguments are the defaults of every call: see ``Settings``.
    """

    def with_settings(self, **settings: Unpack[Settings]) -> Client:
        """A client of the same coordinator with other settings on top of these."""
        where: dict[str, Any] = {"in_flight": self._in_flight, "tls": self._tls, "token": self._token}
        return Client(self._address, **where, **self._merged(settings))

    def score(
        self,
        item: AnyItem | str | Sequence[Turn],
        responses: Sequence[str] | None = None,
        *,
        on_progress: OnProgress | None = None,
        **settings: Unpack[Settings],
    ) -> Verdict:
        """Judges one item: a dict, or a query and its responses.

        Waits without holding the interpreter; Ctrl-C ends the call at once. Calls are tried again within the budget.
        Raises a :class:`jury.JuryError` when there is no verdict. A verdict may still be UNSCORED.

        ``on_progress`` is called on this thread with a :class:`jury.Progress` whenever the judge has gone on, at most
        twenty times a second; steps are left out where it is slow. What it raises ends the call, samples included, and is
        raised here.
        """
        check_on_progress(on_progress)
        request = self._request(item, responses, settings)
        call = self._link.score(request, on_progress is not None, None)
        return Verdict.from_dict(self._read(call.wait(on_step_of(on_progress))))

    def score_many(
        self,
        items: Iterable[AnyItem],
        *,
        on_progress: OnProgress | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Answer]:
        """Judges many items over one stream; answers come as they are ready, each with its item's index.

        At most 256 items are taken from ``items`` beyond those in flight, before their answers have been taken. An item that is malformed or
        fails gets an answer with its error, and the others go on. Ending the iteration cancels what is unanswered.

        ``on_progress`` hears of every item, while the next answer is waited for; nothing after an item's answer. What it
        raises comes out of the iteration, and cancels what is unanswered.
        """
        check_on_progress(on_progress)
        return score_many(self._link, self._address, items, self._merged(settings), on_progress)

    def status(self) -> Fleet:
        """The fleet and the load."""
        return Fleet.from_dict(self._read(self._link.status(None).wait(None)))

    async def ascore(
        self,
        item: AnyItem | str | Sequence[Turn],
        responses: Sequence[str] | None = None,
        *,
        on_progress: OnProgress | None = None,
        **settings: Unpack[Settings],
    ) -> Verdict:
        """:meth:`score` on an event loop, where ``on_progress`` is called, too.

        Cancelling the task cancels the call, and the samples with it.
        """
        return await self._score(item, responses, settings, on_progress)

    def ascore_many(
        self, items: AnyItems, *, on_progress: OnProgress | None = None, **settings: Unpack[Settings]
    ) -> AsyncIterator[Answer]:
        """:meth:`score_many` on an event loop; ``items`` may be asynchronous."""
        return self._ascore_many(items, settings, on_progress)

    async def astatus(self) -> Fleet:
        """:meth:`status` on an event loop."""
        return await self._status()


class AsyncClient(_Base):
    """:class:`Client` for event loops: the same arguments, coroutines for methods. Loops may share it."""

    def with_settings(self, **settings: Unpack[Settings]) -> AsyncClient:
        """A client of the same coordinator with other settings on top of these."""
        where: dict[str, Any] = {"in_flight": self._in_flight, "tls": self._tls, "token": self._token}
        return AsyncClient(self._address, **where, **self._merged(settings))

    async def score(
        self,
        item: AnyItem | str | Sequence[Turn],
        responses: Sequence[str] | None = None,
        *,
        on_progress: OnProgress | None = None,
        **settings: Unpack[Settings],
    ) -> Verdict:
        """Judges one item. Cancelling the task cancels the call, and the samples with it. See :meth:`Client.score`."""
        return await self._score(item, responses, settings, on_progress)

    def score_many(
        self, items: AnyItems, *, on_progress: OnProgress | None = None, **settings: Unpack[Settings]
    ) -> AsyncIterator[Answer]:
        """Judges many items; ``items`` may be asynchronous. See :meth:`Client.score_many`."""
        return self._ascore_many(items, settings, on_progress)

    async def status(self) -> Fleet:
        """The fleet and the load."""
        return await self._status()


@functools.lru_cache(maxsize=64)
def _link(
    address: str, in_flight: int | None, tls: Tls | None, token: Token | None
) -> _jury.Link:
    """Clients of one coordinator share their connection: one that is unpickled for every call is common in trainers."""
    secret = None if token is None else (token.reveal(), may_go_without_tls())
    link, fault = _jury.Link.open(address, in_flight, tls, secret)
    if link is None:
        assert fault is not None
        raise from_fault(fault)
    return link


def _again(
    kind: type[Any],
    address: str,
    in_flight: int | None,
    tls: Tls | None,
    token: Token | None,
    settings: Mapping[str, Any],
) -> Any:
    return kind(address, in_flight=in_flight, tls=tls, token=token, **settings)
