"""Bodies out of the log: decoded once, kept within a bound of bytes."""

from __future__ import annotations

import msgspec
import pytest

from broker.base.errors import DataCorrupt
from broker.base.ids import GroupId, Index, QueueId
from broker.base.instants import WallMillis
from broker.domain.queues.commands import Arrival, Arrive, Delete, DeleteQueue, Exchange, Send
from broker.domain.queues.model import Message, Origin
from broker.machine import envelope
from broker.machine.envelope import Envelope
from broker.services.contents import Content, Contents
from tests.unit.services.fake_groups import FakeCluster

ONE = GroupId(1)
_encode = msgspec.msgpack.Encoder().encode


class CountingLog:
    """Entries of one group, counting how often they are read."""

    def __init__(self) -> None:
        self.entries: dict[int, bytes] = {}
        self.reads: list[int] = []

    def read_entry(self, group: GroupId, index: Index) -> bytes | None:
        self.reads.append(index)
        return self.entries.get(index)

    def add(self, index: int, *bodies: bytes) -> None:
        messages = msgspec.Raw(_encode([Message(body) for body in bodies]))
        self.put(index, Send(QueueId(1), len(bodies), max(map(len, bodies)), None, messages))

    def put(self, index: int, command: msgspec.Struct) -> None:
        data = envelope.encode(Envelope(WallMillis(1), "queues", None, msgspec.Raw(_encode(command))))
        self.entries[index] = data


def bodies(found: Content | None) -> list[bytes]:
    assert found is not None
    return [message.body for message in found.messages]


def test_an_entry_is_read_and_decoded_once() -> None:
    log = CountingLog()
    log.add(5, b"a", b"b")
    contents = Contents(log)  # type: ignore[arg-type]  # all of Groups that it uses

    assert bodies(contents.of_entry(ONE, 5)) == [b"a", b"b"]
    assert contents.of_entry(ONE, 5) is contents.of_entry(ONE, 5)
    assert log.reads == [5]


def test_the_least_recently_used_go_when_the_bytes_are_used_up() -> None:
    log = CountingLog()
    for index in (1, 2, 3):
        log.add(index, b"x" * 1_000)
    contents = Contents(log, cache_size=2 * 1_400)  # type: ignore[arg-type]
    contents.of_entry(ONE, 1)
    contents.of_entry(ONE, 2)
    contents.of_entry(ONE, 1)
    contents.of_entry(ONE, 3)
    log.reads.clear()

    contents.of_entry(ONE, 1)
    contents.of_entry(ONE, 3)
    assert log.reads == []
    contents.of_entry(ONE, 2)
    assert log.reads == [2]
    assert contents.kept_size <= 2 * 1_400


def test_an_entry_larger_than_the_cache_is_answered_and_not_kept() -> None:
    log = CountingLog()
    log.add(1, b"x" * 1_000)
    contents = Contents(log, cache_size=100)  # type: ignore[arg-type]

    assert bodies(contents.of_entry(ONE, 1)) == [b"x" * 1_000]
    assert contents.kept_size == 0


def test_an_entry_that_was_dropped_is_none_and_asked_for_again() -> None:
    log = CountingLog()
    contents = Contents(log)  # type: ignore[arg-type]
    assert contents.of_entry(ONE, 7) is None
    assert contents.of_entry(ONE, 7) is None
    assert log.reads == [7, 7]


def test_an_entry_tells_what_its_messages_were_deduplicated_by_and_where_they_were_before() -> None:
    log = CountingLog()
    origin = Origin("orders", QueueId(1), ONE, b"i" * 16, WallMillis(5), 3)
    raw = msgspec.Raw(_encode([Message(b"a", (), origin), Message(b"b")]))
    send = Send(QueueId(1), 2, 1, None, raw, deduplication=("x", "y"))
    log.put(1, send)
    log.put(2, Exchange(QueueId(1), send, Delete(QueueId(2), ())))
    arrivals = tuple(Arrival(number, QueueId(1), 1, "g", identity) for number, identity in ((4, "x"), (5, "")))
    log.put(3, Arrive(GroupId(2), 0, arrivals, raw))
    log.add(4, b"a", b"b")
    contents = Contents(log)  # type: ignore[arg-type]

    found = [contents.of_entry(ONE, index) for index in (1, 2, 3, 4)]

    assert [bodies(each) for each in found] == [[b"a", b"b"]] * 4
    assert [each.messages[0].origin for each in found if each] == [origin, origin, origin, None]
    assert [[each.deduplication_of(slot) for slot in (0, 1)] for each in found if each] == [
        ["x", "y"],
        ["x", "y"],
        ["x", ""],
        ["", ""],
    ]


def test_whether_an_answer_costs_a_reading_can_be_asked_before() -> None:
    log = CountingLog()
    log.add(1, b"a")
    contents = Contents(log)  # type: ignore[arg-type]
    before = contents.keeps(ONE, 1)
    contents.of_entry(ONE, 1)
    assert (before, contents.keeps(ONE, 1), contents.keeps(ONE, 2)) == (False, True, False)


def test_what_is_no_send_is_corrupt() -> None:
    log = CountingLog()
    log.put(1, DeleteQueue(QueueId(1)))
    log.entries[2] = b"\xc1"
    contents = Contents(log)  # type: ignore[arg-type]
    with pytest.raises(DataCorrupt, match="entry 1 of group 1 should hold messages, it holds DeleteQueue"):
        contents.of_entry(ONE, 1)
    with pytest.raises(DataCorrupt, match="entry 2 of group 1 cannot be read"):
        contents.of_entry(ONE, 2)


def test_the_real_log_form_is_understood() -> None:
    cluster = FakeCluster()
    log = CountingLog()
    log.add(1, b"a")
    cluster.entries[ONE, 1] = log.entries[1]
    assert bodies(Contents(cluster.on[cluster.nodes[0].id]).of_entry(ONE, 1)) == [b"a"]
