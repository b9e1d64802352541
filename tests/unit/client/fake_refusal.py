"""How the fake broker ends a call: a canonical status, with the exact error in the trailers."""

from __future__ import annotations

from typing import Any

import grpc

from broker.base.errors import (
    AccessKeyNotFound,
    BrokerError,
    InvalidName,
    MessageTooLong,
    NodeNotFound,
    QueueExists,
    QueueNotFound,
)
from broker.client.errors import DETAILS_TRAILER
from tests.unit.client.fake_queue import info

STATUS = {
    AccessKeyNotFound: grpc.StatusCode.NOT_FOUND,
    InvalidName: grpc.StatusCode.INVALID_ARGUMENT,
    MessageTooLong: grpc.StatusCode.INVALID_ARGUMENT,
    QueueExists: grpc.StatusCode.ALREADY_EXISTS,
    QueueNotFound: grpc.StatusCode.NOT_FOUND,
    NodeNotFound: grpc.StatusCode.NOT_FOUND,
}


async def refuse(context: Any, error: BrokerError) -> None:
    await context.abort(
        STATUS.get(type(error), grpc.StatusCode.UNAVAILABLE),
        str(error),
        ((DETAILS_TRAILER, info(error).SerializeToString()),),
    )
