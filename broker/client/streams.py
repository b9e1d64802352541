"""What grpc.aio's streams leave to their users: an end that is a value, and two kinds of CancelledError told apart."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, cast

import grpc.aio

Response = TypeVar("Response")


async def next_response(stream: grpc.aio.StreamStreamCall[Any, Response]) -> Response | None:
    """None when the other side ended the stream in order. Raises grpc.aio.AioRpcError."""
    response = await stream.read()
    return None if response is grpc.aio.EOF else cast("Response", response)


def was_cancelled() -> bool:
    """Whether somebody asked the current task to stop, and not only the call it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
