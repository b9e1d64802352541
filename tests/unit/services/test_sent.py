"""What became of a batch, told in the order in which the caller sent it, however many groups took it."""

from __future__ import annotations

from broker.base.errors import Refusal
from broker.base.ids import GroupId, MessageId
from broker.base.instants import WallMillis
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import Message
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from broker.services.sending import SendAnswer
from broker.services.sent import Part, sent

NOW = WallMillis(1)
TOO_LONG = Refusal("MessageTooLong", "too long")


def answer(
    group: int, index: int, count: int, *refused: int, duplicates: tuple[tuple[int, int], ...] = ()
) -> SendAnswer:
    return SendAnswer(GroupId(group), index, count, NOW, tuple((place, TOO_LONG) for place in refused), duplicates)


def of(group: int, index: int, slot: int) -> bytes:
    return MessageId(group, index, slot).to_bytes()


def test_an_ordinary_batch_has_consecutive_ids() -> None:
    result = sent(pack_bodies([b"a", b"b", b"c"]), False, [Part(answer(3, 7, 3), None)])

    assert (result.accepted, result.refused, result.first) == (3, (), MessageId(3, 7, 0))
    assert result.message_ids() == [of(3, 7, 0), of(3, 7, 1), of(3, 7, 2)]
    assert result.sequence_numbers() == []


def test_what_was_refused_here_and_there_leaves_gaps_in_the_callers_order() -> None:
    outgoing = pack([OutgoingMessage(Message(b"x"), delay=delay) for delay in (-1, 0, 0, -1, 0)])

    result = sent(outgoing, True, [Part(answer(3, 7, 2, 1), outgoing.places)])

    assert [(place, refusal.code) for place, refusal in result.refused] == [
        (0, "InvalidArgument"),
        (2, "MessageTooLong"),
        (3, "InvalidArgument"),
    ]
    assert result.message_ids() == [b"", of(3, 7, 0), b"", b"", of(3, 7, 1)]
    assert result.sequence_numbers() == [0, message_key(7, 0), 0, 0, message_key(7, 1)]
    assert (result.accepted, result.first) == (2, MessageId(3, 7, 0))


def test_a_duplicate_has_the_id_of_the_first() -> None:
    duplicates = ((1, message_key(5, 9)),)

    result = sent(pack_bodies([b"a", b"b"]), True, [Part(answer(3, 7, 2, duplicates=duplicates), None)])

    assert result.message_ids() == [of(3, 7, 0), of(3, 5, 9)]
    assert result.sequence_numbers() == [message_key(7, 0), message_key(5, 9)]
    assert (result.accepted, result.first) == (2, None)


def test_several_groups_answer_for_their_own_messages() -> None:
    outgoing = pack_bodies([b"a", b"b", b"c", b"d"])

    result = sent(outgoing, True, [Part(answer(3, 7, 1, 0), [0, 2]), Part(answer(4, 9, 2), [1, 3])])

    assert result.message_ids() == [b"", of(4, 9, 0), of(3, 7, 0), of(4, 9, 1)]
    assert (result.accepted, [place for place, _ in result.refused], result.first) == (3, [0], None)


def test_a_batch_of_which_nothing_was_taken_has_no_first() -> None:
    result = sent(pack_bodies([b"a"]), False, [Part(answer(3, 0, 0, 0), None)])
    assert (result.accepted, result.first, result.message_ids()) == (0, None, [b""])
