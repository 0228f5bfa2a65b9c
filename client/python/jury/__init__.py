"""Rewards from a generative judge: the client of Jury.

>>> import jury
>>> verdict = jury.Client("127.0.0.1:7480").score("What is 2 + 2?", ["4", "5"], k=4)
>>> verdict.rewards
[9.2, 1.7]
"""

import atexit

from . import _jury
from .batch import Answer
from .client import AsyncClient, Client
from .errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    JuryError,
    Overloaded,
    OverQuota,
    RequestIdReused,
    ShuttingDown,
    Unauthenticated,
    Unreachable,
    WrongService,
    WrongModel,
)
from .local import LocalClient, LocalError, local
from .progress import Progress
from .request import Item, JudgeSettings, Scale, Settings, Stop, Turn, Voting
from .reward import outcome_reward
from .tls import Tls
from .token import Token
from .verdict import (
    Counts,
    Failure,
    Fleet,
    Provenance,
    Reason,
    Run,
    Sample,
    Usage,
    Verdict,
    Worker,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "Cancelled",
    "Client",
    "Counts",
    "DeadlineExceeded",
    "Failure",
    "Fleet",
    "Internal",
    "InvalidArgument",
    "Item",
    "JudgeSettings",
    "JuryError",
    "LocalClient",
    "LocalError",
    "OverQuota",
    "Overloaded",
    "Progress",
    "Provenance",
    "Reason",
    "RequestIdReused",
    "Run",
    "Sample",
    "Scale",
    "Settings",
    "ShuttingDown",
    "Stop",
    "Tls",
    "Token",
    "Turn",
    "Unauthenticated",
    "Unreachable",
    "WrongService",
    "Usage",
    "Verdict",
    "Voting",
    "Worker",
    "WrongModel",
    "local",
    "outcome_reward",
]

# Threads that bring results must not meet an interpreter that is going away.
atexit.register(_jury.stop)
