"""Calls whose callers are gone by the time there is an answer. That is no failure of the server's, whatever gRPC says.

This room must not know what a call was for.
"""

from __future__ import annotations

import asyncio
import logging

import grpc
import grpc.aio

from broker.base.errors import BrokerError
from broker.edge.grpc.errors import status_of, trailers_of

GRPC_LOGGER = "grpc._cython.cygrpc"


def keep_quiet() -> None:
    """Nothing is logged of answers that cannot be written any more: gRPC calls that an error, with a stack trace.
    May be called again."""
    logging.getLogger(GRPC_LOGGER).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


async def abort(context: grpc.aio.ServicerContext[None, None], error: BrokerError) -> None:
    """How a call ends that failed: gRPC takes the exception that this raises for its end."""
    try:
        await context.abort(status_of(error), str(error), trailers_of(error))
    except grpc.aio.InternalError:  # the caller has gone, or the deadline has passed: there is nobody to tell
        raise asyncio.CancelledError from None  # the end that gRPC takes without a word
