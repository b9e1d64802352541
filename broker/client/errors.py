"""From what gRPC reports to the exceptions of ``broker.base.errors``.

The broker puts an ErrorInfo with the exact code into the trailers. Where there is none, no broker answered: the
connection was refused or broke, or something between the two spoke.
"""

from __future__ import annotations

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from broker.base.errors import (
    BatchTooLarge,
    BrokerError,
    DeadlineExceeded,
    InvalidArgument,
    Overloaded,
    Refusal,
    Unauthenticated,
    Unavailable,
)
from broker.client.model import SentMessage
from broker.pb.queues.v1 import queues_pb2

DETAILS_TRAILER = "broker-error-bin"
"""Trailer that carries a serialized broker.queues.v1.ErrorInfo."""


class NoAnswer(Unavailable):
    """A node did not answer: it is down, cut off, or not there yet."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address} does not answer ({reason})")
        self.address = address


class NobodyAnswers(Unavailable):
    """No node has answered this client since it was made: a wrong address, or the cluster is not running."""

    def __init__(self, addresses: list[str]) -> None:
        super().__init__(f"no node of {','.join(addresses)} answers; is the cluster running? Start it with `make run`")


class PartlyRefused(BrokerError):
    """Some messages of a batch were refused. ``outcomes`` has one per message, in order: what was sent is sent."""

    def __init__(self, outcomes: list[SentMessage | BrokerError]) -> None:
        refused = [(place, found) for place, found in enumerate(outcomes) if isinstance(found, BrokerError)]
        place, first = refused[0]
        super().__init__(
            f"{len(refused)} of {len(outcomes)} messages were refused; the first is number {place} (from 0): {first}"
        )
        self.outcomes = outcomes


_BY_STATUS: dict[grpc.StatusCode, type[BrokerError]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
}
_TOO_LARGE = "larger than max"
"""What gRPC says, with the same status, of a request that was refused for its size before it was read."""

_CONNECTION = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL}
)
"""What gRPC itself reports when a connection cannot be made, breaks, or is reset."""


def of_info(info: queues_pb2.ErrorInfo) -> BrokerError:
    """An error inside a response."""
    return Refusal(info.code, info.message).to_error()


def of_call(error: grpc.aio.AioRpcError, address: str) -> BrokerError:
    """An error that ended a call to the node at ``address``."""
    info = _info(error)
    if info is not None:
        return of_info(info)
    status, details = error.code(), error.details() or "no reason given"
    if status in _CONNECTION:
        return NoAnswer(address, details)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{address} did not answer in time")
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in details:
        return BatchTooLarge(f"{address}: {details}; split it")
    return _BY_STATUS.get(status, BrokerError)(f"{address}: {details} ({status.name})")


def _info(error: grpc.aio.AioRpcError) -> queues_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_TRAILER and isinstance(value, bytes):
            try:
                return queues_pb2.ErrorInfo.FromString(value)
            except DecodeError:
                return None
    return None
