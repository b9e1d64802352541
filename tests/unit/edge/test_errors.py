"""Errors as gRPC callers see them."""

from __future__ import annotations

import logging

import grpc
import pytest

from broker.base import errors
from broker.base.errors import BrokerError, Refusal
from broker.edge.grpc.errors import (
    STATUS_BY_CODE,
    ErrorTable,
    entry_errors,
    info_of,
    status_of,
    trailers_of,
)
from broker.pb.queues.v1 import queues_pb2
from broker.pb.rpc.v1 import status_pb2


def classes(root: type[BrokerError]) -> list[type[BrokerError]]:
    """Those that name a code of their own; the others only group them."""
    below = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    own = [root] if "code" in vars(root) else []
    return [*own, *(found for child in below for found in classes(child))]


@pytest.mark.parametrize("kind", classes(BrokerError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_chosen_status_that_agrees_with_its_nature(kind: type[BrokerError]) -> None:
    assert kind.code in STATUS_BY_CODE
    status = status_of(kind("why"))
    if status is grpc.StatusCode.UNAVAILABLE:
        assert kind.retryable
    if status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS):
        assert kind.caller_fault
        assert not kind.retryable
    if kind.caller_fault:
        assert status not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS)


def test_both_trailers_tell_the_same() -> None:
    error = errors.OverLimit("120,000 messages are in flight")
    (own, raw_info), (standard, raw_status) = trailers_of(error)
    info = queues_pb2.ErrorInfo.FromString(raw_info)
    status = status_pb2.Status.FromString(raw_status)
    assert (own, standard) == ("broker-error-bin", "grpc-status-details-bin")
    assert (info.code, info.message, info.retryable) == ("OverLimit", "120,000 messages are in flight", True)
    assert (status.code, status.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], str(error))
    assert status.details[0].value == raw_info


@pytest.mark.parametrize(
    ("error", "seconds", "nanos"), [(errors.Overloaded("too much"), 0, 250_000_000), (errors.DiskFull("full"), 1, 0)]
)
def test_who_is_refused_for_want_of_room_is_told_how_long_to_stay_away(
    error: BrokerError, seconds: int, nanos: int
) -> None:
    _, (_, raw_status), pushback = trailers_of(error)
    _, detail = status_pb2.Status.FromString(raw_status).details
    told = status_pb2.RetryInfo.FromString(detail.value).retry_delay
    assert detail.type_url == "type.googleapis.com/google.rpc.RetryInfo"
    assert (told.seconds, told.nanos) == (seconds, nanos)
    assert pushback == ("grpc-retry-pushback-ms", str(seconds * 1_000 + nanos // 1_000_000))


def test_a_refusal_is_told_with_what_its_class_knows() -> None:
    told = entry_errors(((3, Refusal("OverLimit", "full")), (5, Refusal("MessageTooLong", "long"))))
    assert [(each.entry, each.error.code, each.error.retryable) for each in told] == [
        (3, "OverLimit", True),
        (5, "MessageTooLong", False),
    ]


def test_what_is_meant_for_callers_passes_and_what_is_not_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    table = ErrorTable(lambda size: b"\xab" * size)
    meant = errors.QueueNotFound("no such queue")
    with caplog.at_level(logging.INFO):
        assert table.expected(meant, "Send") is meant
        assert caplog.records == []
        told = table.expected(KeyError("secret"), "Send")
    assert info_of(told).code == "Internal"
    assert "abababab" in str(told)
    assert "secret" not in str(told)
    assert "Send failed, error abababab" in caplog.text
    assert "secret" in caplog.text
