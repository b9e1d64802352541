"""One exception tree for everything a caller may be told.

Each class fixes a ``code`` (stable, machine-readable), ``retryable`` (the same call may succeed later, unchanged)
and ``caller_fault`` (the caller must change something). Edges translate by table; nobody compares messages.
Messages say what was wrong, with the offending value and the limit, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class BrokerError(Exception):
    """Root of all errors told to callers. ``str(error)`` is the message."""

    code: ClassVar[str] = "Internal"
    retryable: ClassVar[bool] = False
    caller_fault: ClassVar[bool] = False


class CallerError(BrokerError):
    """The request is wrong and will stay wrong."""

    caller_fault = True


class InvalidArgument(CallerError):
    code = "InvalidArgument"


class InvalidName(InvalidArgument):
    code = "InvalidName"


class QueueNotFound(CallerError):
    code = "QueueNotFound"


class QueueExists(CallerError):
    """A queue of that name exists with other attributes."""

    code = "QueueExists"


class PurgeInProgress(CallerError):
    code = "PurgeInProgress"
    retryable = True


class MessageTooLong(CallerError):
    code = "MessageTooLong"


class BatchEmpty(CallerError):
    code = "BatchEmpty"


class BatchTooLarge(CallerError):
    code = "BatchTooLarge"


class ReceiptHandleInvalid(CallerError):
    """Not a receipt handle of this queue, or damaged."""

    code = "ReceiptHandleInvalid"


class ReceiptHandleExpired(CallerError):
    """The message was received again since, or is visible again, or is gone: this handle has no more power."""

    code = "ReceiptHandleExpired"


class OverLimit(CallerError):
    """Too many messages of the queue are in flight: delete some first."""

    code = "OverLimit"
    retryable = True


class NodeNotFound(CallerError):
    code = "NodeNotFound"


class Unauthenticated(CallerError):
    code = "Unauthenticated"


class ServiceError(BrokerError):
    """The request may be right; the cluster cannot serve it now."""

    retryable = True


class Unavailable(ServiceError):
    """No quorum, no leader, or the node is stopping. Whether the call took effect is unknown unless it says so."""

    code = "Unavailable"


class NotLeader(ServiceError):
    """This replica does not lead the group. ``leader`` is the node believed to lead it, or None."""

    code = "NotLeader"

    def __init__(self, message: str, leader: str | None = None) -> None:
        super().__init__(message)
        self.leader = leader


class Overloaded(ServiceError):
    code = "Overloaded"


class DiskFull(ServiceError):
    code = "DiskFull"


class DeadlineExceeded(ServiceError):
    """The caller's time ran out. A change may still take effect; retry with the same request id to learn."""

    code = "DeadlineExceeded"


class DataCorrupt(BrokerError):
    """Stored bytes do not match their checksum. The message names the file and the offset."""

    code = "DataCorrupt"


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """An error as data: what a machine answers, what travels between nodes. ``to_error`` turns it back."""

    code: str
    message: str

    def to_error(self) -> BrokerError:
        return _BY_CODE.get(self.code, BrokerError)(self.message)

    @classmethod
    def of(cls, error: BrokerError) -> Refusal:
        return cls(error.code, str(error))


def _tree(root: type[BrokerError]) -> dict[str, type[BrokerError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


_BY_CODE: dict[str, type[BrokerError]] = {
    **_tree(BrokerError),
    "Internal": BrokerError,
    "InvalidArgument": InvalidArgument,
}
