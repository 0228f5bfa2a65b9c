"""How a coordinator is reached over TLS."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional


class Tls(NamedTuple):
    """Certificates for an ``https://`` address, all of them paths of PEM files; they may be replaced at any time.

    ``ca`` is the authority that the coordinator's certificate must be of; default: what this machine trusts. ``cert`` and
    ``key`` are shown to a coordinator that wants a certificate of its clients. ``server_name`` is the name that the
    coordinator's certificate must be for, where that is not the address's host.
    """

    # Read at run time by Python 3.9, which knows no "str | None".
    ca: Optional[str] = None
    cert: Optional[str] = None
    key: Optional[str] = None
    server_name: Optional[str] = None

    @classmethod
    def from_environment(cls) -> Tls:
        """What ``JURY_TLS_CA``, ``JURY_TLS_CERT``, ``JURY_TLS_KEY`` and ``JURY_TLS_SERVER_NAME`` say."""
        return cls(*(os.environ.get(f"JURY_TLS_{name.upper()}") or None for name in cls._fields))


def of(address: str, tls: Tls | None) -> Tls | None:
    """What counts for ``address``: variables may be there for other addresses, an argument may not."""
    if address.startswith("https://"):
        return Tls.from_environment() if tls is None else tls
    if tls is not None:
        raise ValueError(f"tls: {address} is called without TLS; write https:// for it")
    return None
