"""On whose behalf a coordinator is called."""

from __future__ import annotations

import os
from typing import Any

_OFF = {"", "0", "false", "no", "off", "n", "f"}


class Token:
    """A tenant's token. Nothing that prints it shows it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def reveal(self) -> str:
        """The token itself."""
        return self._secret

    def __repr__(self) -> str:
        return "jury.Token(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other._secret == self._secret

    def __hash__(self) -> int:
        return hash(self._secret)

    def __reduce__(self) -> tuple[Any, ...]:
        return Token, (self._secret,)

    @classmethod
    def from_environment(cls) -> Token | None:
        """What ``JURY_TOKEN`` says, else the file that ``JURY_TOKEN_FILE`` names."""
        secret = os.environ.get("JURY_TOKEN")
        path = os.environ.get("JURY_TOKEN_FILE")
        if not secret and path:
            with open(path, encoding="utf-8") as file:
                secret = file.read().strip()
        return cls(secret) if secret else None


def of(token: str | Token | None) -> Token | None:
    """The token that counts: an argument, else the environment's."""
    if token is None:
        return Token.from_environment()
    return token if isinstance(token, Token) else Token(token)


def may_go_without_tls() -> bool:
    """Whether ``JURY_ALLOW_TOKEN_WITHOUT_TLS`` says that the network itself is trusted."""
    return os.environ.get("JURY_ALLOW_TOKEN_WITHOUT_TLS", "").lower() not in _OFF
