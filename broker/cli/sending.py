"""What `broker queue send` does: a handful of messages, or a file's lines as a stream of bounded memory."""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from broker.base.errors import BrokerError, InvalidArgument
from broker.base.instants import SECOND, Clock
from broker.base.limits import KIB, MIB
from broker.cli.instants import parse_duration, parse_instant
from broker.cli.options import parse_attributes
from broker.client.client import Client
from broker.client.model import MessageOptions, OutgoingMessage, SentMessage

_READ_BYTES = 256 * KIB
_LINES_A_BATCH = 1_000
_BATCHES_AT_ONCE = 16

Outcomes = asyncio.Future[list[SentMessage | BrokerError]]


AttributeTexts = Annotated[
    list[str] | None, typer.Option("--attribute", "-a", help="name=value or name:Number=12; may be repeated.")
]
MessageGroup = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Message group: required in FIFO queues, a fair share in standard ones."),
]
TimeToLive = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Gone after so long: 90, 10m, 1h30m, 2d.", show_default="the retention"),
]


def options_of(
    attributes: list[str] | None,
    group: str | None,
    delay: float | None,
    when: str | None,
    what: str,
    ttl: str | None,
    clock: Clock,
) -> MessageOptions:
    """What was given. ``what`` is the name of the option that ``when`` comes from. Raises InvalidArgument."""
    options = MessageOptions()
    if attributes:
        options["attributes"] = parse_attributes(attributes)
    if group is not None:
        options["message_group"] = group
    if delay is not None:
        options["delay"] = delay
    if when is not None:
        options["deliver_at"] = parse_instant(when, what, clock.wall() / SECOND)
    if ttl is not None:
        options["time_to_live"] = parse_duration(ttl, "--ttl")
    return options


async def send_arguments(
    client: Client, queue: str, bodies: list[str], options: MessageOptions, deduplication_id: str | None
) -> None:
    ids = _ids(deduplication_id, alone=len(bodies) == 1)
    messages = [_message(body.encode(), options, next(ids)) for body in bodies]
    for sent in await client.send_many(queue, messages):
        sys.stdout.write(f"{sent.id}\n")


async def send_lines(
    client: Client,
    queue: str,
    path: Path,
    options: MessageOptions,
    deduplication_id: str | None,
    console: Console,
    clock: Clock,
) -> int:
    """The exit code. Lines end at a newline, which is no part of the message; everything else is sent as it is."""
    plain = not options and deduplication_id is None
    ids = _ids(deduplication_id, alone=False)
    sent = _Sent(console, clock, _size(path))
    producer = client.producer(queue)
    waiting: deque[Outcomes] = deque()
    with sent.progress:
        try:
            async for lines in batches(read(path)):
                messages: list[bytes] | list[OutgoingMessage] = lines
                if not plain:
                    messages = [_message(line, options, next(ids)) for line in lines]
                waiting.append(await producer.enqueue_many(messages))
                while waiting and (waiting[0].done() or len(waiting) >= _BATCHES_AT_ONCE):
                    sent.count(await waiting.popleft())
                sent.read(sum(len(line) + 1 for line in lines))
            while waiting:
                sent.count(await waiting.popleft())
        finally:
            sent.finish()
    return 0


def _message(body: bytes, options: MessageOptions, deduplication_id: str | None) -> OutgoingMessage:
    own: MessageOptions = {**options, "deduplication_id": deduplication_id}
    return OutgoingMessage(body, **own)


def _ids(given: str | None, alone: bool) -> Iterator[str | None]:
    """A deduplication id for each message; of several, the given one with the message's number, from 1."""
    if given is None or alone:
        return itertools.repeat(given)
    return (f"{given}-{number}" for number in itertools.count(1))


class _Sent:
    """What was sent so far, shown as it grows."""

    def __init__(self, console: Console, clock: Clock, size: int | None) -> None:
        self._console = console
        self._clock = clock
        self._started = clock.monotonic()
        self._messages = 0
        self._bytes = 0
        shape = BarColumn() if size else SpinnerColumn()
        self.progress = Progress(
            shape,
            TextColumn("{task.fields[said]}"),
            *([TimeRemainingColumn()] if size else []),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self.progress.add_task("send", total=size, said="")

    def read(self, count: int) -> None:
        self._bytes += count
        self.progress.update(self._bar, completed=self._bytes, said=self._said())

    def count(self, outcomes: list[SentMessage | BrokerError]) -> None:
        """Raises the error of the first line that was refused, with the line's number."""
        for place, outcome in enumerate(outcomes):
            if isinstance(outcome, BrokerError):
                raise type(outcome)(f"line {self._messages + place + 1:,}: {outcome}")
        self._messages += len(outcomes)

    def finish(self) -> None:
        self.progress.stop()
        if self._bytes:
            self._console.print(f"sent {self._said()}", highlight=False, soft_wrap=True)

    def _said(self) -> str:
        seconds = max(self._clock.monotonic() - self._started, 1) / SECOND
        rate = self._messages / seconds
        return f"{self._messages:,} messages, {self._bytes / MIB:,.1f} MiB in {seconds:,.1f} s: {rate:,.0f} messages/s"


async def batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Complete lines as they come, at most a batch at a time; a last line need not end with a newline."""
    rest: list[bytes] = []
    async for chunk in chunks:
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            rest.append(chunk)
            continue
        lines = b"".join([*rest, head]).split(b"\n")
        rest = [tail] if tail else []
        for start in range(0, len(lines), _LINES_A_BATCH):
            yield lines[start : start + _LINES_A_BATCH]
    if rest:
        yield [b"".join(rest)]


async def read(path: Path) -> AsyncIterator[bytes]:
    """A file's content in pieces. Raises InvalidArgument when it cannot be read."""
    try:
        with open(0, "rb", closefd=False) if str(path) == "-" else path.open("rb") as file:  # noqa: ASYNC230
            descriptor = file.fileno()
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)):
                while chunk := os.read(descriptor, _READ_BYTES):
                    yield chunk
                    # Reading a file never waits, so the loop has to be let go on purpose.
                    await asyncio.sleep(0)
            else:
                async for chunk in _read_stream(descriptor):
                    yield chunk
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror or error}") from None


async def _read_stream(descriptor: int) -> AsyncIterator[bytes]:
    """From a pipe or a terminal, without holding up the event loop and without a thread that could not be stopped."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            chunk = os.read(descriptor, _READ_BYTES)
            if not chunk:
                return
            yield chunk
    finally:
        loop.remove_reader(descriptor)


def _size(path: Path) -> int | None:
    """None when the size is not known before the end."""
    return path.stat().st_size if path.is_file() else None
