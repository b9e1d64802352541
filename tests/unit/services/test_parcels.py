"""Where a message goes and what it says there of where it came from: read from a log and a machine, group by group."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from broker.base.errors import DataCorrupt, Refusal
from broker.base.ids import GroupId, Index, MessageId, QueueId
from broker.base.instants import WallMillis
from broker.domain.queues.commands import Arrive, Refused, Send
from broker.domain.queues.model import Attribute, Described, Message, Origin, QueueAttributes, Target
from broker.domain.queues.questions import AttributesOf, Parcel
from broker.machine import envelope
from broker.services.carrying import Address, Nowhere
from broker.services.contents import Contents
from broker.services.parcels import QueueParcels, stale

HERE, HOME, FAR = GroupId(2), GroupId(1), GroupId(7)
QUEUE = QueueId(5)
DEAD = Target("dead", QueueId(9), (FAR,))
ORIGIN = Origin("bills", QueueId(6), GroupId(4), b"m" * 16, WallMillis(11), 3)
KIB = 1024


class Log:
    """What QueueParcels needs of the groups: entries by index."""

    def __init__(self) -> None:
        self.entries: dict[int, bytes] = {}

    def read_entry(self, _: GroupId, index: Index) -> bytes | None:
        return self.entries.get(index)

    def put(self, index: int, messages: Sequence[Message], deduplication: tuple[str, ...] | None = None) -> None:
        raw = msgspec.Raw(msgspec.msgpack.encode(list(messages)))
        command = Send(QUEUE, len(messages), 1, None, raw, None, deduplication)
        encoded = msgspec.Raw(msgspec.msgpack.encode(command))
        self.entries[index] = envelope.encode(envelope.Envelope(WallMillis(1), "queues", None, encoded))


def parcels(log: Log, groups: tuple[GroupId, ...] | None = (HERE,)) -> QueueParcels:
    """``groups``: of the source queue's stripes, None: it is gone."""

    def ask(question: object) -> object:
        assert question == AttributesOf(QUEUE)
        if groups is None:
            return Refused(Refusal("QueueNotFound", "gone"))
        return Described(QUEUE, "orders", QueueAttributes(), WallMillis(1), WallMillis(1), groups)

    return QueueParcels(HERE, ask, Contents(log))  # type: ignore[arg-type]


def parcel(number: int = 1, slot: int = 0, destination: Target | None = DEAD, group: str = "", name: str = "orders"):  # type: ignore[no-untyped-def]
    return Parcel(number, QUEUE, name, 3, slot, WallMillis(100), 4, group, destination)


def unpacked(command: object) -> tuple[Arrive, list[Message]]:
    assert isinstance(command, Arrive)
    return command, msgspec.msgpack.decode(command.messages, type=list[Message])


def test_a_dead_letter_says_where_it_was_and_how_often_it_was_received() -> None:
    log = Log()
    log.put(3, [Message(b"zero"), Message(b"body", (Attribute("kind", "String", b"express"),), ORIGIN, "Root=1")])

    command, (message,) = unpacked(parcels(log).pack([parcel(8, slot=1)], 6).command)

    assert (command.source, command.settled) == (HERE, 6)
    (arrival,) = command.arrivals
    assert (arrival.number, arrival.queue, arrival.size) == (8, DEAD.id, message.size())
    assert (message.body, message.attributes) == (b"body", (Attribute("kind", "String", b"express"),))
    assert message.trace == "Root=1"
    there = MessageId(HERE, 3, 1).to_bytes()
    assert message.origin == Origin("orders", QUEUE, HERE, there, WallMillis(100), 4)


@pytest.mark.parametrize(("groups", "home"), [((HOME, HERE), HOME), ((), HERE), (None, HERE)])
def test_a_standard_queue_takes_its_messages_back_in_its_home_group(
    groups: tuple[GroupId, ...] | None, home: GroupId
) -> None:
    log = Log()
    log.put(3, [Message(b"body")])
    _, (message,) = unpacked(parcels(log, groups).pack([parcel()], 1).command)
    assert message.origin is not None
    assert message.origin.group == home


def test_a_fifo_queue_takes_its_messages_back_in_the_stripe_that_had_them() -> None:
    log = Log()
    log.put(3, [Message(b"body")], deduplication=("once",))
    dead = Target("dead.fifo", QueueId(9), (FAR,))
    item = parcel(destination=dead, group="customer", name="orders.fifo")

    command, (message,) = unpacked(parcels(log, (HOME, HERE)).pack([item], 1).command)

    assert message.origin is not None
    assert message.origin.group == HERE
    (arrival,) = command.arrivals
    assert (arrival.group, arrival.deduplication) == ("customer", "once")


def test_what_goes_back_goes_to_the_queue_and_group_it_came_from_and_has_no_origin_there() -> None:
    log = Log()
    log.put(3, [Message(b"body", (), ORIGIN)])
    cargo = parcels(log)

    assert cargo.address(parcel(destination=None)) == Address(ORIGIN.group, read=len(log.entries[3]))
    assert cargo.address(parcel(destination=None)) == Address(ORIGIN.group, read=0)
    command, (message,) = unpacked(cargo.pack([parcel(destination=None)], 1).command)

    assert (command.arrivals[0].queue, message.origin) == (ORIGIN.id, None)


def test_what_came_from_nowhere_cannot_go_back() -> None:
    log = Log()
    log.put(3, [Message(b"body")])
    address = parcels(log).address(parcel(destination=None))
    assert isinstance(address, Nowhere)
    assert address.read == len(log.entries[3])
    assert address.refusal.message == (
        f"message {MessageId(HERE, 3, 0)} was sent to queue 'orders' itself and not moved there, so there is nowhere "
        "to move it back to: name a destination"
    )


def test_a_destination_is_known_without_reading() -> None:
    stripes = tuple(GroupId(number) for number in range(10, 14))
    standard, fifo = Target("dead", QueueId(9), stripes), Target("dead.fifo", QueueId(9), stripes)
    cargo = parcels(Log())
    assert cargo.address(parcel(destination=standard, group="customer")) == Address(stripes[0])
    found = {cargo.address(parcel(destination=fifo, group=f"customer-{number}")) for number in range(50)}
    assert found == {Address(group) for group in stripes}
    assert cargo.address(parcel(destination=fifo, group="customer-1")) == Address(stripes[1])


def test_a_command_takes_what_fits_into_three_mebibytes_and_one_message_at_least() -> None:
    log = Log()
    log.put(3, [Message(b"x" * 1_024 * KIB) for _ in range(4)])
    cargo = parcels(log)
    assert cargo.pack([parcel(number, number - 1) for number in range(1, 5)], 1).count == 3
    log.put(4, [Message(b"x" * 3_100 * KIB)])
    large = msgspec.structs.replace(parcel(), index=4)
    assert cargo.pack([large, parcel(2)], 1).count == 1


def test_a_command_reads_no_more_than_eight_mebibytes_of_entries_that_hold_other_messages_too() -> None:
    log = Log()
    for index in range(20):
        log.put(index, [Message(b"small"), Message(b"x" * KIB * KIB)])
    items = [msgspec.structs.replace(parcel(index + 1), index=index) for index in range(20)]
    cargo = parcels(log)
    assert cargo.pack(items, 1).count == 8
    assert cargo.pack(items, 1).count == 16


def test_content_that_cannot_be_read_ends_the_command_before_it() -> None:
    log = Log()
    log.put(3, [Message(b"body")])
    cargo = parcels(log)
    gone = msgspec.structs.replace(parcel(2), index=4)
    assert cargo.pack([parcel(), gone], 1).count == 1
    with pytest.raises(DataCorrupt, match="on its way out of queue 'orders' is not in the log: entry 4 of group 2"):
        cargo.pack([gone, parcel()], 1)
    with pytest.raises(DataCorrupt):
        cargo.address(msgspec.structs.replace(gone, destination=None))


def test_a_destination_that_is_not_there_may_be_elsewhere() -> None:
    assert stale(parcel(), Refusal("QueueNotFound", "gone")) == DEAD
    assert stale(parcel(), Refusal("MessageTooLong", "long")) is None
    assert stale(parcel(destination=None), Refusal("QueueNotFound", "gone")) is None
