from broker.base.ids import GroupId, NodeId, Term
from broker.base.instants import Millis
from broker.raft.messages import HeartbeatReply
from broker.replication import frames
from broker.replication.engine import EngineCounts
from broker.replication.frames import Call, PeerFrame, Talk
from broker.replication.saying import Saying

B = NodeId("b")
HEARTBEAT = (GroupId(1), HeartbeatReply(Term(3), 9))


class Narrow:
    """A connection with room for so many frames."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent: list[PeerFrame] = []

    def send(self, peer: NodeId, payload: bytes) -> bool:
        if len(self.sent) == self.room:
            return False
        self.sent.append(frames.decode(payload))
        return True


def talk_of(calls: int) -> Talk:
    return Talk([Call(number, "queues.send", bytes(3_000_000), Millis(500)) for number in range(calls)])


def test_messages_and_calls_share_a_frame():
    connection, counts = Narrow(9), EngineCounts()
    assert Saying(counts).say(connection, {B: [HEARTBEAT]}, {B: talk_of(1)}) == []
    [frame] = connection.sent
    assert frame.messages == [HEARTBEAT]
    assert [call.id for call in frame.calls] == [0]
    assert (counts.frames_sent, counts.frames_dropped) == (1, 0)


def test_calls_without_room_are_told_back_and_only_those():
    connection, counts = Narrow(2), EngineCounts()
    unsaid = Saying(counts).say(connection, {B: [HEARTBEAT]}, {B: talk_of(4)})
    assert [call.id for frame in connection.sent for call in frame.calls] == [0, 1]
    assert [(peer, [call.id for call in talk.calls]) for peer, talk in unsaid] == [(B, [2]), (B, [3])]
    assert (counts.frames_sent, counts.frames_dropped) == (2, 2)
