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


class QueueNotEmpty(CallerError):
    """The queue was to be removed only if it is empty."""

    code = "QueueNotEmpty"
    retryable = True


class Conflict(CallerError):
    """Another call changed the same thing meanwhile: a queue's attributes, a group's replicas."""

    code = "Conflict"
    retryable = True


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


class MessageGroupRequired(CallerError):
    """A FIFO queue takes no message without a message group."""

    code = "MessageGroupRequired"


class DeduplicationIdRequired(CallerError):
    """A FIFO queue without content-based deduplication takes no message without a deduplication id."""

    code = "DeduplicationIdRequired"


class NotForFifo(CallerError):
    """FIFO queues do not have this, such as a delay or a schedule of single messages."""

    code = "NotForFifo"


class NotForStandard(CallerError):
    """Only FIFO queues have this, such as deduplication."""

    code = "NotForStandard"


class NotScheduled(CallerError):
    """The message is not waiting for an instant: it was never scheduled, is due already, or is gone."""

    code = "NotScheduled"


class DifferentGroups(CallerError):
    """What was asked for works within one group only, and the queues named live in two."""

    code = "DifferentGroups"


class FixedAttribute(CallerError):
    """This attribute cannot be changed after creation, or not in this way."""

    code = "FixedAttribute"


class RedriveTargetInvalid(CallerError):
    """The dead-letter queue named does not exist, is of another kind (FIFO or standard), or is the queue itself."""

    code = "RedriveTargetInvalid"


class RedriveNotAllowed(CallerError):
    """The dead-letter queue's redrive allow policy does not admit this source queue."""

    code = "RedriveNotAllowed"


class NotDeadLetterQueue(CallerError):
    """No queue names this one as its dead-letter queue, so there is nowhere to move its messages back to."""

    code = "NotDeadLetterQueue"


class MoveTaskRunning(CallerError):
    """One move task per source queue at a time."""

    code = "MoveTaskRunning"
    retryable = True


class MoveTaskNotFound(CallerError):
    code = "MoveTaskNotFound"


class MoveTaskNotRunning(CallerError):
    """It has ended already."""

    code = "MoveTaskNotRunning"


class NodeNotFound(CallerError):
    code = "NodeNotFound"


class AccessKeyNotFound(CallerError):
    code = "AccessKeyNotFound"


class LimitReached(CallerError):
    """The cluster has as many of these as it takes."""

    code = "LimitReached"


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


class BackupInProgress(ServiceError):
    """Another backup is about to capture the same cluster: it takes a moment, ten seconds at most."""

    code = "BackupInProgress"


class BackupExpired(BrokerError):
    """A replica does not have the state that was captured for a backup, or not any more."""

    code = "BackupExpired"


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
