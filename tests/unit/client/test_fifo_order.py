"""What one client sends to a FIFO queue is stored in the order of its calls, whatever happens to streams and nodes."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.base.errors import DeadlineExceeded, Overloaded, Unavailable
from broker.client.client import Client
from broker.client.coalescing import FrameLimits
from broker.client.model import OutgoingMessage
from broker.client.outbox import Frame, Outbox
from broker.client.producer import ProducerSettings
from tests.unit.client.fake_broker import FakeCluster, running, until
from tests.unit.client.test_outbox import positions, waiting

SMALL_FRAMES = ProducerSettings(timeout=10.0, silence=0.3, frames=FrameLimits(max_messages=3))


def client_of(cluster: FakeCluster, producing: ProducerSettings = SMALL_FRAMES) -> Client:
    return Client(cluster.addresses, timeout=10.0, patience=0.3, producer_settings=producing, chance=Random(1))


def numbered(count: int) -> list[OutgoingMessage]:
    return [
        OutgoingMessage(b"%d" % number, message_group=f"group-{number % 4}", deduplication_id=f"id-{number}")
        for number in range(count)
    ]


async def test_one_frame_is_on_its_way_at_a_time() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a FIFO queue whose broker acknowledges nothing for now
        cluster.create("orders.fifo")
        cluster.release.clear()

        # when many frames want to go
        sending = asyncio.ensure_future(client.send_many("orders.fifo", numbered(20)))
        await until(lambda: bool(cluster.produce_requests))

        # then the second goes only when the first has its answer
        assert [request.frame for request in cluster.produce_requests] == [1]
        cluster.release.set()
        sent = await sending
        assert cluster.bodies("orders.fifo") == [b"%d" % number for number in range(20)]
        assert [found.sequence_number for found in sent] == list(range(1, 21))


@pytest.mark.parametrize("fault", ["lose_frames", "lose_acknowledgements"])
async def test_order_survives_streams_that_break_with_frames_on_their_way(fault: str) -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given a broker that breaks every second of ten streams
        cluster.create("orders.fifo")
        sending = asyncio.ensure_future(client.send_many("orders.fifo", numbered(200)))
        for _ in range(5):
            already = len(cluster.produce_requests)
            await until(lambda before=already: len(cluster.produce_requests) > before + 3)  # type: ignore[misc]
            setattr(cluster, fault, 1)

        # when all is sent
        await sending

        # then it is stored once, in order
        assert cluster.bodies("orders.fifo") == [b"%d" % number for number in range(200)]


async def test_order_survives_a_leader_that_is_killed_and_one_that_falls_silent() -> None:
    async with running(3) as cluster, client_of(cluster) as client:
        # given sends on their way
        cluster.create("orders.fifo")
        first, second, third = cluster.nodes
        sending = asyncio.ensure_future(client.send_many("orders.fifo", numbered(300)))
        await until(lambda: len(cluster.queue("orders.fifo").stored) > 30)

        # when the leader is killed, and the next one keeps silent, to store late what it was sent
        cluster.leader = second.address
        await first.kill()
        await until(lambda: len(cluster.queue("orders.fifo").stored) > 120)
        second.speaks.clear()
        cluster.leader = third.address
        await until(lambda: len(cluster.queue("orders.fifo").stored) > 180)
        second.speaks.set()

        # then all is stored once, in order
        await sending
        assert cluster.bodies("orders.fifo") == [b"%d" % number for number in range(300)]


async def test_order_survives_frames_that_the_broker_cannot_take_now() -> None:
    async with running() as cluster, client_of(cluster) as client:
        cluster.create("orders.fifo")
        cluster.refuse_frames = [Overloaded("too much"), Unavailable("no quorum"), Overloaded("too much")]
        await client.send_many("orders.fifo", numbered(40))
        assert cluster.bodies("orders.fifo") == [b"%d" % number for number in range(40)]


async def test_a_message_given_up_is_not_stored_after_later_ones() -> None:
    async with running() as cluster, client_of(cluster, ProducerSettings(timeout=0.3, silence=5.0)) as client:
        # given a message whose sender was told that its time is over, while a silent broker has it
        cluster.create("orders.fifo")
        await client.send("orders.fifo", b"before", message_group="g", deduplication_id="0")
        cluster.nodes[0].speaks.clear()
        with pytest.raises(DeadlineExceeded, match="may be stored nevertheless"):
            await client.send("orders.fifo", b"first", message_group="g", deduplication_id="1")

        # when the next one is sent, and the broker speaks again
        sending = asyncio.ensure_future(client.send("orders.fifo", b"second", message_group="g", deduplication_id="2"))
        await asyncio.sleep(0)
        cluster.nodes[0].speaks.set()
        await sending

        # then the first came first
        assert cluster.bodies("orders.fifo") == [b"before", b"first", b"second"]


async def test_a_duplicate_is_answered_with_the_first_ones_id_and_number() -> None:
    async with running() as cluster, client_of(cluster) as client:
        # given a message stored
        cluster.create("orders.fifo")
        first = await client.send("orders.fifo", b"a", message_group="g", deduplication_id="1")

        # when it is sent again among others, one of them too long
        cluster.queue("orders.fifo").attributes.message_size_limit = 1_024
        messages = [
            OutgoingMessage(b"b", message_group="g", deduplication_id="2"),
            OutgoingMessage(b"a", message_group="g", deduplication_id="1"),
            OutgoingMessage(b"x" * 2_000, message_group="g", deduplication_id="3"),
        ]
        outcomes = await (await client.producer("orders.fifo").enqueue_many(messages))

        # then each has its own answer
        stored = cluster.queue("orders.fifo").stored
        assert [found.body for found in stored] == [b"a", b"b"]
        assert outcomes[1] == first
        assert (first.sequence_number, outcomes[0].sequence_number) == (1, 2)  # type: ignore[union-attr]
        assert "the message has 2000 bytes" in str(outcomes[2])


def test_a_frame_given_up_stays_first_in_line_until_it_is_answered() -> None:
    # given an ordered outbox with a frame on its way whose time is over
    outbox = Outbox(FrameLimits(max_messages=1), eager_frames=2, ordered=True)
    outbox.opened(window=1)
    outbox.add(waiting(0, deadline=5.0))
    outbox.add(waiting(1, deadline=50.0))
    first = outbox.next_frame(0.0)
    assert [each.position for late in outbox.expired(6.0) for each in late.messages] == [0]
    assert outbox.expired(7.0) == []

    # when its stream is lost
    outbox.lost()
    outbox.opened(window=1)

    # then it goes again, before the next one, and its answer is no news
    assert outbox.next_frame(8.0) is first
    assert outbox.next_frame(8.0) is None
    assert outbox.acknowledged(1) is None
    assert positions(outbox.next_frame(9.0)) == [1]
    # and nobody waits any more once the other is answered
    assert outbox.acknowledged(2) is not None
    assert outbox.is_empty


class LateFrames(RuleBasedStateMachine):
    """A broker that stores each frame number once, over streams that break at any moment, and on whose nodes frames of
    broken streams may still arrive much later."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(FrameLimits(max_messages=2, max_bytes=25), eager_frames=1, ordered=True)
        self.now = 0.0
        self.added = 0
        self.on_the_wire: list[Frame] = []
        self.stragglers: list[Frame] = []
        self.answers: list[int] = []
        self.stored: dict[int, list[int]] = {}
        self.connected = False

    @rule()
    def send(self) -> None:
        self.outbox.add(waiting(self.added, deadline=self.now + 3.0))
        self.added += 1

    @rule()
    def time_passes(self) -> None:
        self.now += 2.0
        self.outbox.expired(self.now)

    @rule()
    def write(self) -> None:
        if not self.connected:
            self.connected = True
            self.outbox.opened(1)
        frame = self.outbox.next_frame(self.now)
        if frame is not None:
            self.on_the_wire.append(frame)

    @precondition(lambda self: self.on_the_wire)
    @rule()
    def arrive(self) -> None:
        frame = self.on_the_wire.pop(0)
        self._store(frame)
        self.answers.append(frame.number)

    @precondition(lambda self: self.stragglers)
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        self._store(self.stragglers.pop(data.draw(st.integers(0, len(self.stragglers) - 1))))

    @precondition(lambda self: self.answers)
    @rule()
    def answer(self) -> None:
        self.outbox.acknowledged(self.answers.pop(0))

    @precondition(lambda self: self.connected)
    @rule(later=st.sampled_from([0.0, 4.0]))
    def break_off(self, later: float) -> None:
        self.now += later
        self.outbox.expired(self.now)
        self.connected = False
        self.outbox.lost()
        self.stragglers += self.on_the_wire
        self.on_the_wire.clear()
        self.answers.clear()

    def _store(self, frame: Frame) -> None:
        content = [message.position for message in frame.messages]
        assert self.stored.setdefault(frame.number, content) == content

    @invariant()
    def in_order(self) -> None:
        stored = [position for content in self.stored.values() for position in content]
        assert stored == sorted(stored), "stored in the order of sending"


LateFrames.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLateFrames = LateFrames.TestCase
