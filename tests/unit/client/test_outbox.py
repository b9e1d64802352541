"""Frames between send and acknowledgement: numbers, window, and what happens when a stream is lost."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.base.errors import BrokerError, DiskFull
from broker.client.coalescing import FrameLimits
from broker.client.model import SentMessage
from broker.client.outbox import Frame, Outbox, Waiting
from broker.client.outgoing import Entry


class SilentTicket:
    """Nobody waits."""

    def accepted(self, position: int, sent: SentMessage) -> None:
        raise AssertionError("the outbox tells nobody")

    def refused(self, position: int, error: BrokerError) -> None:
        raise AssertionError("the outbox tells nobody")


def waiting(number: int, size: int = 10, deadline: float = 100.0) -> Waiting:
    return Waiting(Entry(b"%d" % number, size), SilentTicket(), number, deadline)


def outbox_with(count: int, *, window: int = 4, eager_frames: int = 2, max_messages: int = 3) -> Outbox:
    outbox = Outbox(FrameLimits(max_messages=max_messages, max_bytes=1_000), eager_frames)
    outbox.opened(window)
    for number in range(count):
        outbox.add(waiting(number))
    return outbox


def positions(frame: Frame | None) -> list[int]:
    assert frame is not None
    return [message.position for message in frame.messages]


def test_nothing_is_sent_before_a_stream_is_open() -> None:
    outbox = Outbox(FrameLimits(), eager_frames=2)
    outbox.add(waiting(0))
    assert outbox.next_frame(0.0) is None
    outbox.opened(window=1)
    assert positions(outbox.next_frame(0.0)) == [0]


def test_a_frame_that_is_not_full_waits_while_enough_others_are_on_their_way() -> None:
    # given two small frames on their way
    outbox = outbox_with(0)
    for number in range(2):
        outbox.add(waiting(number))
        assert positions(outbox.next_frame(0.0)) == [number]

    # when two more messages come one by one
    outbox.add(waiting(2))
    assert outbox.next_frame(0.0) is None
    outbox.add(waiting(3))
    assert outbox.next_frame(0.0) is None

    # then they share the frame that goes when an acknowledgement comes
    outbox.acknowledged(1)
    assert positions(outbox.next_frame(0.0)) == [2, 3]


def test_full_frames_go_as_far_as_the_window() -> None:
    # given more than the window of full frames
    outbox = outbox_with(15, window=4, eager_frames=2, max_messages=3)

    # when all is sent that may be
    numbers = [outbox.next_frame(0.0) for _ in range(5)]

    # then the fifth frame waits for an acknowledgement of any other
    assert [frame.number for frame in numbers if frame] == [1, 2, 3, 4]
    assert outbox.next_frame(0.0) is None
    outbox.acknowledged(3)
    assert positions(outbox.next_frame(0.0)) == [12, 13, 14]


def test_after_a_lost_stream_frames_go_again_under_their_numbers_before_new_ones() -> None:
    # given three frames sent, of which the second is acknowledged, and more waiting
    outbox = outbox_with(12, window=3)
    sent = [outbox.next_frame(0.0) for _ in range(3)]
    outbox.acknowledged(2)

    # when the stream is lost
    outbox.lost()
    assert outbox.next_frame(1.0) is None

    # then a new stream starts with the first and third, as they were, then a new one
    outbox.opened(window=3)
    again = [outbox.next_frame(2.0) for _ in range(3)]
    assert [frame.number for frame in again if frame] == [1, 3, 4]
    assert again[0] is sent[0]
    assert positions(again[2]) == [9, 10, 11]
    assert outbox.oldest_sent_at() == 2.0


def test_a_frame_the_broker_could_not_take_leaves_room_for_others_and_goes_again() -> None:
    # given a full window
    outbox = outbox_with(9, window=2)
    outbox.next_frame(0.0)
    outbox.next_frame(0.0)

    # when the broker refuses the first for now
    outbox.send_again(1)

    # then it goes again
    frame = outbox.next_frame(1.0)
    assert frame is not None
    assert frame.number == 1
    assert outbox.next_frame(1.0) is None


def test_messages_expire_wherever_they_are() -> None:
    # given one frame on its way, one to be sent again, one message waiting, all but the last too old
    outbox = Outbox(FrameLimits(max_messages=1), eager_frames=5)
    outbox.opened(window=2)
    for number, deadline in enumerate((5.0, 5.0, 5.0, 50.0)):
        outbox.add(waiting(number, deadline=deadline))
    outbox.next_frame(0.0)
    outbox.next_frame(0.0)
    outbox.send_again(2)

    # when their time is over
    late = outbox.expired(now=6.0)

    # then they are gone, and the window is free for the last
    assert [each.position for found in late for each in found.messages] == [0, 1, 2]
    assert positions(outbox.next_frame(6.0)) == [3]
    assert outbox.next_frame(6.0) is None
    outbox.acknowledged(3)
    assert outbox.is_empty


def test_of_what_expires_it_is_known_whether_it_may_be_stored() -> None:
    # given one message a frame
    full = DiskFull("nothing was sent")
    outbox = Outbox(FrameLimits(max_messages=1), eager_frames=9)
    for number in range(6):
        outbox.add(waiting(number, deadline=5.0))

    # of which one is lost with its stream, and is refused when it comes again
    outbox.opened(window=1)
    outbox.next_frame(0.0)
    outbox.lost()
    outbox.opened(window=5)
    for _ in range(5):
        outbox.next_frame(0.0)
    outbox.refused(1, full)
    # one has no answer, one is refused, one refused and sent again, one fails without saying what came of it
    outbox.refused(3, full)
    outbox.send_again(3)
    outbox.refused(4, full)
    outbox.send_again(4)
    outbox.send_again(5)
    outbox.next_frame(1.0)

    # when their time is over
    late = outbox.expired(now=6.0)

    # then those may be stored of which not every attempt was answered with a refusal
    assert [(found.messages[0].position, found.perhaps, found.refusal) for found in late] == [
        (0, True, full),
        (1, True, None),
        (2, True, full),
        (3, False, full),
        (4, True, None),
        (5, False, None),
    ]


def test_a_repeated_acknowledgement_is_no_news() -> None:
    outbox = outbox_with(6, window=1)
    outbox.next_frame(0.0)
    assert outbox.acknowledged(1) is not None
    assert outbox.acknowledged(1) is None
    assert outbox.next_frame(0.0) is not None
    assert outbox.next_frame(0.0) is None


def test_clear_gives_back_everything_once() -> None:
    outbox = outbox_with(8, window=2)
    outbox.next_frame(0.0)
    outbox.next_frame(0.0)
    assert sorted(message.position for message in outbox.clear()) == list(range(8))
    assert outbox.is_empty
    assert outbox.clear() == []


class LossyStreams(RuleBasedStateMachine):
    """A broker that stores each frame number once, over streams that break at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.window = 3
        self.outbox = Outbox(FrameLimits(max_messages=2, max_bytes=25), eager_frames=1)
        self.added = 0
        self.on_the_wire: list[Frame] = []
        self.answers: list[int] = []
        self.stored: dict[int, list[int]] = {}
        self.confirmed: list[int] = []
        self.connected = False

    @rule(size=st.integers(1, 40))
    def send(self, size: int) -> None:
        self.outbox.add(waiting(self.added, size))
        self.added += 1

    @precondition(lambda self: not self.connected)
    @rule(window=st.integers(1, 4))
    def open(self, window: int) -> None:
        self.window = window
        self.connected = True
        self.outbox.opened(window)

    @precondition(lambda self: self.connected)
    @rule()
    def write(self) -> None:
        frame = self.outbox.next_frame(0.0)
        if frame is not None:
            self.on_the_wire.append(frame)

    @precondition(lambda self: self.on_the_wire)
    @rule()
    def arrive(self) -> None:
        frame = self.on_the_wire.pop(0)
        content = [message.position for message in frame.messages]
        assert self.stored.setdefault(frame.number, content) == content
        self.answers.append(frame.number)

    @precondition(lambda self: self.on_the_wire)
    @rule()
    def overload(self) -> None:
        self.outbox.send_again(self.on_the_wire.pop(0).number)

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1)))
        frame = self.outbox.acknowledged(number)
        if frame is not None:
            self.confirmed += [message.position for message in frame.messages]

    @precondition(lambda self: self.connected)
    @rule()
    def break_off(self) -> None:
        self.connected = False
        self.outbox.lost()
        self.on_the_wire.clear()
        self.answers.clear()

    @invariant()
    def within_the_window(self) -> None:
        assert len(self.on_the_wire) + len(self.answers) <= self.window

    def teardown(self) -> None:
        if self.connected:
            self.break_off()
        self.open(4)
        while not self.outbox.is_empty:
            self.write()
            while self.on_the_wire:
                self.arrive()
            for number in self.answers:
                frame = self.outbox.acknowledged(number)
                self.confirmed += [message.position for message in frame.messages] if frame else []
            self.answers.clear()
        stored = sorted(position for content in self.stored.values() for position in content)
        assert stored == list(range(self.added)), "nothing is lost, nothing is doubled"
        assert sorted(self.confirmed) == list(range(self.added)), "each is confirmed once"


LossyStreams.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLossyStreams = LossyStreams.TestCase
