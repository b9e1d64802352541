"""What the queue machine costs by itself, without disk or network: ``python -m loadtest.machine``.

CPU microseconds per message of every command in batches and singly, memory per idle message, and the longest that one
apply, one query or one capture of a dump may hold up the loop when a queue holds a million messages.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from time import process_time

import msgspec
from rich.console import Console
from rich.table import Table

from broker.base.ids import Index, QueueId
from broker.base.instants import MINUTE, Millis, WallMillis
from broker.domain.queues import commands
from broker.domain.queues.commands import Deliveries
from broker.domain.queues.machine import ROOM, QueueMachine
from broker.domain.queues.model import Handle, Message, QueueAttributes
from broker.machine import envelope
from broker.machine.envelope import Envelope, RequestId
from broker.machine.replicated import ReplicatedMachine

QUEUE = QueueId(1)
START = 1_700_000_000_000
BODY = b"x" * 1024
SESSION = b"0123456789abcdef"
LOAD = 200_000
BACKLOG = 1_000_000


class Log:
    """Encodes commands as entries and applies them, as a replica would."""

    def __init__(self, attributes: QueueAttributes | None = None, remembered: bool = True, name: str = "load") -> None:
        self.machine = ReplicatedMachine({ROOM: QueueMachine()})
        self.index = 0
        self.remembered = remembered
        self.at = START
        self.apply(commands.CreateQueue(QUEUE, name, attributes or QueueAttributes()))

    def entry(self, command: commands.Command) -> bytes:
        self.index += 1
        request = RequestId(SESSION, self.index) if self.remembered else None
        return envelope.encode(
            Envelope(WallMillis(self.at), ROOM, request, msgspec.Raw(msgspec.msgpack.encode(command)))
        )

    def apply(self, command: commands.Command) -> object:
        data = self.entry(command)
        return self.machine.apply(data, Index(self.index)).reply

    def apply_timed(self, command: commands.Command) -> tuple[object, float]:
        """The reply, and CPU seconds of the apply alone."""
        data = self.entry(command)
        start = process_time()
        reply = self.machine.apply(data, Index(self.index)).reply
        return reply, process_time() - start


def grouped_send(first: int, size: int, groups: int, fifo: bool) -> commands.Send:
    """Messages ``first`` .. of as many message groups in turn, each with a deduplication id of its own."""
    messages = msgspec.Raw(msgspec.msgpack.encode([Message(BODY)] * size))
    numbers = range(first, first + size)
    names = tuple(f"group-{number % groups}" for number in numbers)
    identities = tuple(f"{number:064d}" for number in numbers) if fifo else None
    return commands.Send(QUEUE, size, len(BODY), None, messages, names, identities)


def grouped_costs(fifo: bool, groups: int, batch: int = 100) -> tuple[float, float, float]:
    """CPU seconds per message of send, receive and delete in a queue of so many message groups."""
    log = Log(name="load.fifo" if fifo else "load")
    messages = LOAD // 2
    sending = receiving = deleting = 0.0
    for first in range(0, messages, batch):
        sending += log.apply_timed(grouped_send(first, batch, groups, fifo))[1]
    for _ in range(0, messages, batch):
        reply, seconds = log.apply_timed(commands.Receive(QUEUE, batch))
        receiving += seconds
        assert isinstance(reply, Deliveries)
        handles = tuple(Handle(each.index, each.slot, each.receipt) for each in reply.deliveries)
        deleting += log.apply_timed(commands.Delete(QUEUE, handles))[1]
    return sending / messages, receiving / messages, deleting / messages


def grouped_memory(groups: int) -> Callable[[], object]:
    """100,000 messages of a FIFO queue, sent so long ago that their deduplication ids are forgotten."""

    def fill() -> object:
        log = Log(name="load.fifo", remembered=False)
        for first in range(0, 100_000, 100):
            log.apply(grouped_send(first, 100, groups, True))
        log.at += 6 * MINUTE
        log.apply(grouped_send(100_000, 1, groups, True))
        return log

    return fill


def send_of(size: int) -> commands.Send:
    messages = msgspec.Raw(msgspec.msgpack.encode([Message(BODY)] * size))
    return commands.Send(QUEUE, size, len(BODY), None, messages)


def costs(batch: int) -> Iterator[tuple[str, float]]:
    """CPU microseconds per message, of commands of ``batch`` messages each."""
    log = Log()
    rounds = LOAD // batch if batch > 1 else LOAD // 4
    send = send_of(batch)
    spent = sum(log.apply_timed(send)[1] for _ in range(rounds))
    yield "send", spent / (rounds * batch)
    handles: list[tuple[Handle, ...]] = []
    spent_receiving = spent_deleting = spent_extending = 0.0
    for _ in range(rounds):
        reply, seconds = log.apply_timed(commands.Receive(QUEUE, batch))
        spent_receiving += seconds
        assert isinstance(reply, Deliveries)
        handles.append(tuple(Handle(each.index, each.slot, each.receipt) for each in reply.deliveries))
        if len(handles) * batch >= 20_000:
            extension = (Millis(60_000),) * batch
            for each in handles:
                spent_extending += log.apply_timed(commands.ChangeVisibility(QUEUE, each, extension))[1]
            for each in handles:
                spent_deleting += log.apply_timed(commands.Delete(QUEUE, each))[1]
            handles.clear()
    yield "receive", spent_receiving / (rounds * batch)
    yield "change visibility", spent_extending / (rounds * batch)
    yield "delete", spent_deleting / (rounds * batch)


def filled(batch: int, attributes: QueueAttributes | None = None) -> Log:
    log = Log(attributes)
    send = send_of(batch)
    for _ in range(BACKLOG // batch):
        log.apply(send)
    return log


def memory_per_message(fill: Callable[[], object], messages: int) -> float:
    """Bytes allocated and kept by ``fill``."""
    gc.collect()
    tracemalloc.start()
    kept = fill()
    gc.collect()
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return allocated / messages


def returned_messages() -> Log:
    """100,000 messages, each received once and visible again."""
    log = Log(remembered=False)
    for _ in range(100):
        log.apply(send_of(1000))
    for _ in range(100):
        log.apply(commands.Receive(QUEUE, 1000))
    log.at += QueueAttributes().visibility_timeout
    log.apply(commands.UpdateQueue(QUEUE, QueueAttributes()))
    return log


def singles(attributes: QueueAttributes | None = None) -> Log:
    log = Log(attributes)
    send = send_of(1)
    for _ in range(200_000):
        log.apply(send)
        log.at += 1
    return log


def held_up(action: Callable[[], object]) -> float:
    """Milliseconds of CPU time: on an idle machine, how long the loop stands still."""
    gc.collect()
    start = process_time()
    action()
    return (process_time() - start) * 1000


def pauses() -> Iterator[tuple[str, float]]:
    """Longest hold-ups with a million messages sent one by one, in milliseconds."""
    log = filled(1)
    yield "capture of a dump", held_up(log.machine.dump)
    yield "encoding the dump (off the loop)", held_up(lambda: list(log.machine.dump()))
    yield "capture of the live entries", held_up(log.machine.live_entries)
    yield "listing the live entries (off the loop)", held_up(lambda: list(log.machine.live_entries()))
    pieces = list(log.machine.dump())
    loaded = ReplicatedMachine({ROOM: QueueMachine()})
    yield "loading the dump (at start)", held_up(lambda: loaded.load(pieces))
    yield "first send after a capture", held_up(lambda: log.apply(send_of(1)))
    log.at += QueueAttributes().retention
    yield "a million expire", held_up(lambda: log.apply(commands.Receive(QUEUE, 1)))
    log = filled(1)
    yield "a million purged", held_up(lambda: log.apply(commands.PurgeQueue(QUEUE)))
    log = filled(1, QueueAttributes(delay=MINUTE))
    log.at += MINUTE
    yield "the delay of a million ends", held_up(lambda: log.apply(commands.Receive(QUEUE, 1)))
    log = filled(1000)
    for _ in range(120):
        log.apply(commands.Receive(QUEUE, 1000))
    yield "capture of a dump, 120,000 in flight", held_up(log.machine.dump)
    log.at += QueueAttributes().visibility_timeout
    yield "120,000 time-outs end", held_up(lambda: log.apply(commands.Receive(QUEUE, 1)))


def main() -> None:
    console = Console()
    table = Table(title=f"CPU us per message, CPython {sys.version.split()[0]}")
    for column in ("command", "batches of 100", "singly"):
        table.add_column(column)
    for (name, hundred), (_, single) in zip(costs(100), costs(1), strict=True):
        table.add_row(name, f"{hundred * 1e6:.2f}", f"{single * 1e6:.2f}")
    console.print(table)
    table = Table("queue", "groups", "send", "receive", "delete", title="CPU us per message, batches of 100")
    for fifo in (True, False):
        for groups in (10, 1_000):
            costs_of = [f"{seconds * 1e6:.2f}" for seconds in grouped_costs(fifo, groups)]
            table.add_row("FIFO" if fifo else "standard with tenants", f"{groups:,}", *costs_of)
    console.print(table)
    table = Table("messages", "bytes", title="memory per message, sent one by one")
    table.add_row("idle, never received", f"{memory_per_message(singles, 200_000):.1f}")
    delayed = QueueAttributes(delay=Millis(15 * MINUTE))
    table.add_row("delayed", f"{memory_per_message(lambda: singles(delayed), 200_000):.1f}")
    for groups in (10, 1_000, 100_000):
        row = f"FIFO, in {groups:,} message groups"
        table.add_row(row, f"{memory_per_message(grouped_memory(groups), 100_000):.1f}")
    table.add_row("visible again after a receive", f"{memory_per_message(returned_messages, 100_000):.1f}")
    console.print(table)
    table = Table("event", "ms", title="hold-ups with a million messages")
    for name, milliseconds in pauses():
        table.add_row(name, f"{milliseconds:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
