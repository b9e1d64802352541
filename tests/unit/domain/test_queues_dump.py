"""Dumps of queues: small pieces, the same from every replica, and never loaded when damaged."""

from __future__ import annotations

import pytest

from broker.domain.queues.machine import QueueMachine
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
