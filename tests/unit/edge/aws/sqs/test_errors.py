"""The broker's errors in SQS's words: codes of both protocols, statuses, and whose fault it is."""

from __future__ import annotations

import pytest

from broker.base import errors
from broker.base.errors import BrokerError
from broker.base.instants import Millis
from broker.edge.aws.contract import Caller, Context
from broker.edge.aws.sqs.errors import to_aws
from broker.edge.aws.sqs.names import Names

CALLER = Caller("000000000000", "us-east-1")
CONTEXT = Context(CALLER, "http://localhost:4566", Millis(0), "json", "request")
QUEUE = Names(CALLER.account, CALLER.region).own(CALLER, "orders")


@pytest.mark.parametrize(
    ("error", "code", "query_code", "status"),
    [
        (errors.QueueNotFound("x"), "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400),
        (errors.InvalidName("x"), "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400),
        (errors.PurgeInProgress("x"), "PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", 403),
        (errors.OverLimit("x"), "OverLimit", "OverLimit", 403),
        (errors.InvalidArgument("x"), "InvalidParameterValueException", "InvalidParameterValue", 400),
        (errors.MessageGroupRequired("x"), "MissingRequiredParameterException", "MissingParameter", 400),
        (errors.Overloaded("x"), "RequestThrottled", "RequestThrottled", 503),
        (errors.NotLeader("x"), "ServiceUnavailable", "ServiceUnavailable", 503),
        (errors.DeadlineExceeded("x"), "ServiceUnavailable", "ServiceUnavailable", 503),
        (errors.DiskFull("x"), "ServiceUnavailable", "ServiceUnavailable", 503),
        (errors.Conflict("x"), "ServiceUnavailable", "ServiceUnavailable", 503),
        (errors.DataCorrupt("x"), "InternalFailure", "InternalFailure", 500),
        (BrokerError("x"), "InternalFailure", "InternalFailure", 500),
    ],
)
def test_errors_have_their_codes(error: BrokerError, code: str, query_code: str, status: int) -> None:
    told = to_aws(error, CONTEXT, QUEUE)
    assert (told.code, told.query_code, told.status) == (code, query_code, status)
    assert told.sender_fault is (status < 500)


def test_every_error_of_the_broker_is_told() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BrokerError)]
    assert len(kinds) > 35
    for kind in kinds:
        told = to_aws(kind("what and why"), CONTEXT, QUEUE)
        assert told.message
        assert (told.status < 500) is (kind.caller_fault and kind is not errors.Conflict)
