"""From gRPC's status to the broker's exceptions."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from broker.base.errors import (
    BrokerError,
    DeadlineExceeded,
    InvalidArgument,
    MessageTooLong,
    Unauthenticated,
    Unavailable,
)
from broker.client.errors import DETAILS_TRAILER, NoAnswer, of_call, of_info
from broker.pb.queues.v1 import queues_pb2


def call_error(status: grpc.StatusCode, trailers: tuple[tuple[str, bytes], ...] = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details="why")


def test_the_trailers_say_more_than_the_status() -> None:
    info = queues_pb2.ErrorInfo(code="MessageTooLong", message="2,000 bytes; the queue takes 1,024")
    error = of_call(call_error(grpc.StatusCode.INVALID_ARGUMENT, ((DETAILS_TRAILER, info.SerializeToString()),)), "a:1")
    assert type(error) is MessageTooLong
    assert str(error) == "2,000 bytes; the queue takes 1,024"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, NoAnswer),
        (grpc.StatusCode.INTERNAL, NoAnswer),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.UNIMPLEMENTED, BrokerError),
    ],
)
def test_without_trailers_the_status_decides_and_the_address_is_named(
    status: grpc.StatusCode, kind: type[BrokerError]
) -> None:
    error = of_call(call_error(status), "a:1")
    assert type(error) is kind
    assert "a:1" in str(error)


def test_damaged_trailers_are_as_none() -> None:
    error = of_call(call_error(grpc.StatusCode.UNAVAILABLE, ((DETAILS_TRAILER, b"\xff\xff"),)), "a:1")
    assert isinstance(error, Unavailable)


def test_a_code_of_a_newer_broker_is_still_an_error() -> None:
    error = of_info(queues_pb2.ErrorInfo(code="FromTheFuture", message="new"))
    assert type(error) is BrokerError
    assert str(error) == "new"
