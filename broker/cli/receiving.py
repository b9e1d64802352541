"""What `broker queue receive` does: write bodies to stdout, and delete only what was written."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import BinaryIO

from broker.base.errors import BrokerError, InvalidArgument
from broker.cli.console import note
from broker.cli.written import as_line
from broker.client.client import Client
from broker.client.message import Message
from broker.client.model import ReceivedMessage

_UNFLUSHED = 500
_PREFETCH = 500
_LAST_WRITE = 0.5


class Writing:
    """Bodies to a stream, one a line, or one JSON object a line. Flushing happens in a thread: a slow reader of the
    pipe must not stop the event loop, which keeps connections alive."""

    def __init__(self, stream: BinaryIO, as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._lines: list[bytes] = []

    def add(self, message: Message | ReceivedMessage) -> None:
        self._lines.append(as_line(message) if self._as_json else message.body)

    @property
    def is_flushed(self) -> bool:
        """Whether everything that was added has been written."""
        return not self._lines

    async def flush(self) -> None:
        """Raises BrokenPipeError when nobody reads any more; InvalidArgument when the disk takes no more.

        Cancelled, it first waits a moment for the write under way: what was written should count as written.
        """
        data = b"\n".join([*self._lines, b""])
        writing = asyncio.get_running_loop().run_in_executor(None, self._write, data)
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait([writing], timeout=_LAST_WRITE)
            if done and writing.exception() is None:
                self._lines.clear()
            raise
        self._lines.clear()

    def _write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._stream is sys.stdout.buffer:
                _drop_what_stdout_holds()
            raise InvalidArgument(f"stdout cannot be written: {error.strerror or error}") from None


async def fetch(
    client: Client,
    queue: str,
    writing: Writing,
    limit: int,
    ack: bool,
    wait: float,
    visibility_timeout: float | None,
    attempt: str | None,
) -> int:
    """Up to ``limit`` messages, as long as there are any; of an ``attempt``, what one receive gives. The exit code."""
    left = limit
    while left:
        messages = await client.receive(
            queue, min(left, 1_000), wait=wait, visibility_timeout=visibility_timeout, attempt=attempt
        )
        if not messages:
            if left == limit:
                note(f"queue {queue} has no message to give")
            break
        for message in messages:
            writing.add(message)
        handles = [message.receipt_handle for message in messages]
        try:
            await writing.flush()
        except BrokenPipeError:
            await client.give_back(queue, handles)
            return _nobody_reads()
        if ack:
            _count_refused(await client.delete(queue, handles))
        left = 0 if attempt is not None else left - len(messages)
    return 0


async def follow(
    client: Client, queue: str, writing: Writing, limit: int | None, ack: bool, visibility_timeout: float | None
) -> int:
    """Messages as they come, until ``limit`` or cancelled. The exit code."""
    unflushed: list[Message] = []
    written = 0
    async with client.consume(
        queue, prefetch=min(_PREFETCH, limit or _PREFETCH), visibility_timeout=visibility_timeout
    ) as messages:
        try:
            async for message in messages:
                writing.add(message)
                unflushed.append(message)
                written += 1
                if not messages.ready or len(unflushed) >= _UNFLUSHED or written == limit:
                    await writing.flush()
                    if ack:
                        for done in unflushed:
                            done.ack()
                    unflushed.clear()
                if written == limit:
                    break
        except BrokenPipeError:
            return _nobody_reads()
        finally:
            for message in unflushed:
                message.ack() if ack and writing.is_flushed else message.nack()
    return 0


def _nobody_reads() -> int:
    """As other tools of a pipeline: end without a word."""
    _drop_what_stdout_holds()
    return 0


def _count_refused(outcomes: list[BrokerError | None]) -> None:
    refused = [outcome for outcome in outcomes if outcome is not None]
    if refused:
        note(f"{len(refused):,} messages were written but not deleted, and will come again: {refused[0]}")


def _drop_what_stdout_holds() -> None:
    """It could not be written and never will be; Python would try again when it ends, and end with an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
