"""From the exceptions of ``base.errors`` to what gRPC callers see: a canonical status, and the exact code in trailers.

A caller never sees a stack trace. What nobody expected is logged under a short id, and the caller is told the id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import grpc

from broker.base import errors
from broker.base.errors import BrokerError, Refusal
from broker.base.instants import SECOND, Millis
from broker.pb.queues.v1 import queues_pb2
from broker.pb.rpc.v1 import status_pb2

ERROR_TRAILER = "broker-error-bin"
"""A serialized broker.queues.v1.ErrorInfo."""
STATUS_TRAILER = "grpc-status-details-bin"
"""A serialized google.rpc.Status with the ErrorInfo among its details: what gRPC libraries look for."""
PUSHBACK_TRAILER = "grpc-retry-pushback-ms"
"""How long gRPC libraries wait that try again by themselves (gRPC proposal A6)."""
RETRY_AFTER: dict[str, Millis] = {
    errors.Overloaded.code: Millis(250),
    errors.DiskFull.code: Millis(SECOND),
}
"""How long what is refused for want of room should stay away."""
Trailers = tuple[tuple[str, bytes | str], ...]
_RETRY_TYPE = "type.googleapis.com/google.rpc.RetryInfo"
_INFO_TYPE = f"type.googleapis.com/{queues_pb2.ErrorInfo.DESCRIPTOR.full_name}"
_ID_BYTES = 4

_logger = logging.getLogger(__name__)

STATUS_BY_CODE: dict[str, grpc.StatusCode] = {
    errors.InvalidArgument.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidName.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.QueueNotFound.code: grpc.StatusCode.NOT_FOUND,
    errors.QueueExists.code: grpc.StatusCode.ALREADY_EXISTS,
    errors.QueueNotEmpty.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict.code: grpc.StatusCode.ABORTED,
    errors.PurgeInProgress.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MessageTooLong.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BatchEmpty.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BatchTooLarge.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ReceiptHandleInvalid.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ReceiptHandleExpired.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OverLimit.code: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.MessageGroupRequired.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeduplicationIdRequired.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotForFifo.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotForStandard.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotScheduled.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DifferentGroups.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.FixedAttribute.code: grpc.StatusCode.INVALID_ARGUMENT,
    errors.RedriveTargetInvalid.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RedriveNotAllowed.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotDeadLetterQueue.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MoveTaskRunning.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MoveTaskNotFound.code: grpc.StatusCode.NOT_FOUND,
    errors.MoveTaskNotRunning.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NodeNotFound.code: grpc.StatusCode.NOT_FOUND,
    errors.AccessKeyNotFound.code: grpc.StatusCode.NOT_FOUND,
    errors.LimitReached.code: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated.code: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable.code: grpc.StatusCode.UNAVAILABLE,
    errors.NotLeader.code: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded.code: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DiskFull.code: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded.code: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.BackupInProgress.code: grpc.StatusCode.ABORTED,
    errors.BackupExpired.code: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DataCorrupt.code: grpc.StatusCode.DATA_LOSS,
    errors.BrokerError.code: grpc.StatusCode.INTERNAL,
}


class ErrorTable:
    """``random_bytes``: where the ids of unexpected errors come from."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes

    def expected(self, error: Exception, what: str) -> BrokerError:
        """``error`` itself if it is meant for callers; otherwise logs it, and returns what a caller may know of it."""
        if isinstance(error, BrokerError):
            return error
        identity = self._random_bytes(_ID_BYTES).hex()
        _logger.error("%s failed, error %s", what, identity, exc_info=error)
        return BrokerError(f"the broker failed in an unexpected way; its log explains error {identity}")

    def note(self, error: BrokerError, what: str) -> None:
        """Nobody is left to be told: ``what`` came of it goes into the log."""
        _logger.info("%s: %s", what, error)


def status_of(error: BrokerError) -> grpc.StatusCode:
    return STATUS_BY_CODE.get(error.code, grpc.StatusCode.INTERNAL)


def info_of(error: BrokerError) -> queues_pb2.ErrorInfo:
    return queues_pb2.ErrorInfo(code=error.code, message=str(error), retryable=error.retryable)


def info_of_refusal(refusal: Refusal) -> queues_pb2.ErrorInfo:
    return info_of(refusal.to_error())


def entry_errors(failures: tuple[tuple[int, Refusal], ...]) -> list[queues_pb2.EntryError]:
    return [queues_pb2.EntryError(entry=place, error=info_of_refusal(refusal)) for place, refusal in failures]


def trailers_of(error: BrokerError) -> Trailers:
    return _trailers(error.code, str(error), error.retryable, status_of(error))


@lru_cache(maxsize=256)
def _trailers(code: str, message: str, retryable: bool, status: grpc.StatusCode) -> Trailers:
    """Kept, because a node with too much to do says the same to many."""
    info = queues_pb2.ErrorInfo(code=code, message=message, retryable=retryable).SerializeToString()
    details = [status_pb2.Detail(type_url=_INFO_TYPE, value=info)]
    retry_after = RETRY_AFTER.get(code)
    if retry_after is not None:
        details.append(status_pb2.Detail(type_url=_RETRY_TYPE, value=_retry_info(retry_after)))
    told = status_pb2.Status(code=status.value[0], message=message, details=details)
    trailers = ((ERROR_TRAILER, info), (STATUS_TRAILER, told.SerializeToString()))
    return trailers if retry_after is None else (*trailers, (PUSHBACK_TRAILER, str(retry_after)))


def _retry_info(delay: Millis) -> bytes:
    seconds, millis = divmod(delay, SECOND)
    wanted = status_pb2.RetryInfo.Delay(seconds=seconds, nanos=millis * 1_000_000)
    return status_pb2.RetryInfo(retry_delay=wanted).SerializeToString()
