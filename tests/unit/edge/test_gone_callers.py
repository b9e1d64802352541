"""A call that fails when nobody waits for its answer any more is cancelled: the server has not failed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from broker.aio.system_clock import SystemClock
from broker.base.errors import Unavailable
from broker.base.instants import Millis
from broker.edge.grpc.calls import Calls
from broker.edge.grpc.errors import ErrorTable
from broker.edge.grpc.gone_callers import GRPC_LOGGER, keep_quiet
from broker.pb.queues.v1 import queues_pb2
from broker.telemetry.metrics import Registry


class GoneCaller:
    """The context of a call whose connection is lost, as gRPC behaves then."""

    def time_remaining(self) -> float | None:
        return None

    async def abort(self, *_: Any) -> None:
        raise grpc.aio.InternalError('Failed "execute_batch"')


async def failing(_: Any, deadline: Millis) -> Any:
    raise Unavailable(f"no leader until {deadline}")


class LateCaller:
    """The context of a call whose deadline was over when it arrived. ``told``: the status that it ended with."""

    told: grpc.StatusCode | None = None

    def time_remaining(self) -> float | None:
        return 0.0

    async def abort(self, code: grpc.StatusCode, *_: Any) -> None:
        self.told = code
        raise asyncio.CancelledError


def purge() -> Any:
    """What answers a call of PurgeQueue, which fails."""
    service = queues_pb2.DESCRIPTOR.services_by_name["QueueService"]
    unary = {method.name: failing for method in service.methods if not method.client_streaming}
    streaming = {method.name: cast("Any", failing) for method in service.methods if method.client_streaming}
    handlers = Calls(SystemClock(), Registry(), ErrorTable(bytes)).handlers(service, unary, streaming)
    return cast("Any", handlers.service(cast("Any", Details()))).unary_unary


async def test_a_failure_that_cannot_be_told_is_a_cancelled_call() -> None:
    with pytest.raises(asyncio.CancelledError):
        await purge()(b"", GoneCaller())


async def test_what_comes_too_late_is_not_even_read() -> None:
    caller = LateCaller()
    with pytest.raises(asyncio.CancelledError):
        await purge()(b"\xff is no request", caller)
    assert caller.told is grpc.StatusCode.DEADLINE_EXCEEDED


class Details:
    method = "/broker.queues.v1.QueueService/PurgeQueue"


def test_an_answer_that_cannot_be_written_any_more_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    keep_quiet()
    logger = logging.getLogger(GRPC_LOGGER)

    for error in (grpc.aio.InternalError('Failed "execute_batch"'), ValueError("a defect")):
        try:
            raise error
        except Exception:
            logger.exception("raised in core by servicer method")

    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError]
