"""Dumps of queues: small pieces, the same from every replica, and never loaded when damaged."""

from __future__ import annotations

import msgspec
import pytest

from broker.base.ids import QueueId
from broker.domain.queues.commands import CreateQueue
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.model import Message, QueueAttributes
from broker.domain.queues.questions import AttributesOf
from tests.unit.domain.queue_log import QueueLog


@pytest.mark.parametrize(
    "damage",
    [
        lambda pieces: pieces[:-1],
        lambda pieces: pieces[1:],
        lambda pieces: [pieces[0], *pieces[2:]],
        lambda pieces: [*pieces[:2], pieces[2][:-3], *pieces[3:]],
        lambda pieces: [*pieces, pieces[1]],
        lambda pieces: [],
    ],
    ids=["truncated", "no beginning", "no queue", "cut piece", "after the end", "nothing"],
)
def test_a_damaged_dump_is_not_loaded(damage: object) -> None:
    log = QueueLog()
    log.send(3)
    assert callable(damage)
    with pytest.raises(ValueError):
        QueueMachine().load(damage(list(log.machine.dump())))


def test_pieces_of_a_dump_stay_below_64_kib() -> None:
    log = QueueLog()
    for _ in range(9000):
        log.send()
    for _ in range(4):
        log.receive(1000)
    for _ in range(2):
        log.at += 30_000
        log.receive(1000)
    pieces = list(log.machine.dump())
    assert max(map(len, pieces)) < 64 * 1024
    machine = QueueMachine()
    machine.load(pieces)
    assert list(machine.dump()) == pieces


def test_tags_and_what_is_kept_come_back_and_the_longest_fit_into_a_piece() -> None:
    tags = tuple((f"{number:02}{'k' * 126}", "v" * 256) for number in range(50))
    attributes = QueueAttributes(tags=tags, kept=(("Policy", "x" * 24_000),))
    log = QueueLog()
    log.apply(CreateQueue(QueueId(99), "labelled", attributes))

    pieces = list(log.machine.dump())
    machine = QueueMachine()
    machine.load(pieces)

    assert max(map(len, pieces)) < 64 * 1024
    assert list(machine.dump()) == pieces
    assert machine.query(AttributesOf(QueueId(99)), log.at).attributes == attributes


def test_what_was_stored_before_there_were_tags_and_traces_is_read() -> None:
    older = msgspec.msgpack.encode(tuple(msgspec.structs.astuple(QueueAttributes())[:11]))
    assert msgspec.msgpack.decode(older, type=QueueAttributes) == QueueAttributes()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode((b"body", ())), type=Message) == Message(b"body")
