"""What can go wrong with a call: one class for each error code of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._jury import Fault


class JuryError(Exception):
    """A call that gave no verdict.

    ``code`` is the code's name, for machines; ``attempts`` is how often the call was sent, 0 when it never left.
    """

    code = "INTERNAL"

    def __init__(self, message: str, *, attempts: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.attempts = attempts

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, self.__dict__)


class InvalidArgument(JuryError, ValueError):
    """The request is malformed; ``field`` is the path of what is wrong. Sending it again cannot help."""

    code = "INVALID_ARGUMENT"

    def __init__(self, message: str, *, field: str | None = None, attempts: int = 0) -> None:
        super().__init__(message, attempts=attempts)
        self.field = field


class RequestIdReused(JuryError):
    """Another request was sent under the same request id."""

    code = "REQUEST_ID_REUSED"


class Overloaded(JuryError):
    """Queues were full until the deadline; ``retry_after`` is what the service asked to wait, in seconds."""

    code = "OVERLOADED"
    retry_after: float | None = None


class OverQuota(Overloaded):
    """The tenant had used up a quota until the deadline; ``retry_after`` is when the same request may go, in seconds."""

    code = "OVER_QUOTA"


class Unauthenticated(JuryError, PermissionError):
    """The coordinator wants a token, or does not know this one."""

    code = "UNAUTHENTICATED"


class WrongModel(JuryError):
    """Nobody serves the model that was asked for, or a worker serves something else."""

    code = "WRONG_MODEL"


class ShuttingDown(JuryError):
    """The coordinator was going down."""

    code = "SHUTTING_DOWN"


class Unreachable(JuryError, ConnectionError):
    """The coordinator could not be reached."""

    code = "UNREACHABLE"


class WrongService(JuryError, ConnectionError):
    """Somebody else answers at that address: a worker, or another protocol."""

    code = "WRONG_SERVICE"


class DeadlineExceeded(JuryError, TimeoutError):
    """No answer came within the budget and a grace of five seconds."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(JuryError):
    """The call was cancelled, by the service or because this process ends."""

    code = "CANCELLED"


class Internal(JuryError):
    """A bug of Jury."""


_CLASSES: dict[str, type[JuryError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        RequestIdReused,
        Overloaded,
        OverQuota,
        Unauthenticated,
        WrongModel,
        ShuttingDown,
        Unreachable,
        WrongService,
        DeadlineExceeded,
        Cancelled,
        Internal,
    )
}


def from_fault(fault: Fault, address: str | None = None) -> JuryError:
    """The exception of a fault of the native part, with the address that was called."""
    code, message, field, retry_after, attempts = fault
    if code == Unreachable.code and address is not None:
        message = f"no answer from {address}: {message}; is `jury up` or `jury coordinator` running there?"
    if code == WrongService.code and address is not None:
        message = f"no Jury coordinator answers at {address} (a worker? another protocol?): {message}"
    error = _CLASSES.get(code, Internal)(message, attempts=attempts)
    if isinstance(error, InvalidArgument):
        error.field = field
    if isinstance(error, Overloaded):
        error.retry_after = retry_after
    return error


def _again(kind: type[JuryError], message: str, state: dict[str, Any]) -> JuryError:
    error = kind(message)
    error.__dict__.update(state)
    return error
