from broker.base.errors import NotLeader
from broker.base.ids import GroupId, Index, NodeId, Term
from broker.raft.messages import Addressed, HeartbeatReply
from broker.replication.outbox import Gate, Outbox

GROUP = GroupId(1)
A, B = NodeId("a"), NodeId("b")


def addressed(to: NodeId, number: int) -> Addressed:
    return Addressed(to, HeartbeatReply(Term(1), number))


def test_messages_gather_by_peer_in_order():
    out = Outbox()
    out.send(GROUP, [addressed(A, 1), addressed(B, 2)])
    out.send(GroupId(2), [addressed(A, 3)])
    assert [(group, message.round) for group, message in out.frames[A]] == [(1, 1), (2, 3)]
    assert [(group, message.round) for group, message in out.frames[B]] == [(1, 2)]


def test_what_waits_for_the_disk_is_not_in_the_frames():
    out = Outbox()
    out.send_after_sync(GROUP, [addressed(A, 1)])
    assert out.frames == {}
    assert out.gate.messages == [(GROUP, addressed(A, 1))]


def test_the_latest_word_about_durable_entries_counts_even_when_the_log_became_shorter():
    out = Outbox()
    out.persisted_after_sync(GROUP, Index(9), Term(1))
    out.persisted_after_sync(GROUP, Index(4), Term(2))
    assert out.gate.persisted == {GROUP: (4, 2)}


def test_an_empty_gate_holds_nothing_back():
    out = Outbox()
    assert not out.gate
    out.persisted_after_sync(GROUP, Index(1), Term(1))
    assert out.gate
    assert not Gate()


def test_token_zero_is_nobody_and_gets_no_answer():
    out = Outbox()
    out.answer(0, "ignored")
    out.fail(0, NotLeader("ignored"))
    out.answer(5, "told")
    assert [(answer.token, answer.reply) for answer in out.answers] == [(5, "told")]
