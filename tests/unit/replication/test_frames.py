import pytest

from broker.base.errors import Refusal
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from broker.replication import frames
from broker.replication.frames import Call, CallReply, Talk
from broker.transport.decoding import Malformed

MARK = SnapshotMark(Index(9), Term(2), Membership((NodeId("a"), NodeId("b")), (NodeId("a"),)))
EVERY_MESSAGE = [
    (GroupId(0), VoteRequest(Term(3), Index(7), Term(2), pre=True, transfer=True)),
    (GroupId(1), VoteReply(Term(3), granted=True)),
    (GroupId(2), Append(Term(3), Index(7), Term(2), Index(6), 4, (Entry(Index(8), Term(3), EntryKind.NORMAL, b"x"),))),
    (GroupId(2), AppendReply(Term(3), matched=False, index=Index(5), round=4, hint_term=Term(1))),
    (GroupId(3), Heartbeat(Term(3), Index(7), 9)),
    (GroupId(3), HeartbeatReply(Term(3), 9)),
    (GroupId(4), TimeoutNow(Term(3))),
    (GroupId(5), SnapshotOffer(Term(3), MARK, 2)),
]


def append_of(size: int) -> Append:
    return Append(Term(1), Index(0), Term(0), Index(0), 1, (Entry(Index(1), Term(1), EntryKind.NORMAL, bytes(size)),))


def test_every_message_survives_the_wire():
    (payload,) = frames.encode(EVERY_MESSAGE)
    assert frames.decode(payload).messages == EVERY_MESSAGE


def test_calls_and_replies_ride_along():
    talk = Talk(
        [Call(1, "queues.send", b"abc", Millis(500))],
        [CallReply(7, b"done"), CallReply(8, refusal=Refusal("NotLeader", "not here"), leader="b")],
        [3],
    )
    (payload,) = frames.encode(EVERY_MESSAGE[:1], talk)
    frame = frames.decode(payload)
    assert (frame.messages, frame.calls, frame.replies, frame.cancels) == (
        EVERY_MESSAGE[:1],
        talk.calls,
        talk.replies,
        talk.cancels,
    )


def test_much_to_say_becomes_several_frames_in_order():
    messages = [(GroupId(number), append_of(1_500_000)) for number in range(7)]
    payloads = list(frames.encode(messages, Talk(cancels=[1])))
    assert len(payloads) > 1
    decoded = [frames.decode(payload) for payload in payloads]
    assert [message for frame in decoded for message in frame.messages] == messages
    assert [frame.cancels for frame in decoded][-1] == [1]
    assert max(map(len, payloads)) < 7_000_000


def test_many_large_calls_of_one_turn_go_in_several_frames_and_none_is_lost():
    calls = [Call(number, "queues.send", bytes(1_500_000), Millis(500)) for number in range(60)]
    replies = [CallReply(number, bytes(1_500_000)) for number in range(7)]
    parts = list(Talk(calls, replies, [3]).parts())
    payloads = [payload for part in parts for payload in frames.encode([], part)]
    assert max(map(len, payloads)) < 7_000_000
    decoded = [frames.decode(payload) for payload in payloads]
    assert [call for frame in decoded for call in frame.calls] == calls
    assert [reply for frame in decoded for reply in frame.replies] == replies
    assert [number for frame in decoded for number in frame.cancels] == [3]


@pytest.mark.parametrize("garbage", [b"\xc1 not a frame", b"", b"\x94\x91\xa1\x80", b"\x91" * 100_000, b"\x91\x01"])
def test_garbage_is_refused(garbage: bytes):
    with pytest.raises(Malformed, match="not a frame of messages and calls"):
        frames.decode(garbage)
