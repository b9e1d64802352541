"""Batches that travel as one: what each gets back is what it would be told of its own messages."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.base.errors import Refusal
from broker.base.ids import GroupId, MessageId
from broker.base.instants import WallMillis
from broker.domain.queues.keys import message_key
from broker.domain.queues.model import Message
from broker.services.outgoing import Outgoing, OutgoingMessage, Packed, joined, pack
from broker.services.sending import SendAnswer
from broker.services.sent import Part, sent

REFUSED = Refusal("MessageTooLong", "too long")
messages = st.builds(
    OutgoingMessage,
    st.builds(Message, st.binary(min_size=1, max_size=20)),
    delay=st.none() | st.integers(0, 900_000),
    group=st.sampled_from(["", "a", "b"]),
    deduplication=st.sampled_from(["", "1", "2"]),
    lifetime=st.sampled_from([0, 60_000]),
)
batches = st.lists(st.lists(messages, min_size=1, max_size=20), min_size=1, max_size=6)


def told(packed: Packed) -> list[tuple[Any, ...]]:
    """Message by message."""
    count = len(packed.sizes)
    columns = [
        packed.sizes,
        packed.delays or [None] * count,
        msgspec.msgpack.decode(packed.messages),
        packed.groups or [""] * count,
        packed.deduplication or [""] * count,
        packed.due or [0] * count,
        packed.lifetimes or [0] * count,
    ]
    return list(zip(*columns, strict=True))


@given(batches)
def test_joined_batches_hold_the_messages_of_all(given_batches: list[list[OutgoingMessage]]) -> None:
    parts = [pack(batch).packed for batch in given_batches]

    assert told(joined(parts)) == [each for part in parts for each in told(part)]


@given(st.data(), st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_each_batch_is_told_of_its_own_messages(data: st.DataObject, sizes: list[int]) -> None:
    # given what became of every message: in one of two groups, refused, or a duplicate of an earlier one
    fates = st.tuples(st.sampled_from([3, 4]), st.sampled_from(["stored", "stored", "refused", "duplicate"]))
    fate = [data.draw(fates) for _ in range(sum(sizes))]
    ids = [b""] * len(fate)
    parts: list[Part] = []
    for group in (3, 4):
        places = [place for place, (where, _) in enumerate(fate) if where == group]
        stored = [place for place in places if fate[place][1] != "refused"]
        refused = tuple((position, REFUSED) for position, place in enumerate(places) if fate[place][1] == "refused")
        duplicates = tuple(
            (slot, message_key(5, slot)) for slot, place in enumerate(stored) if fate[place][1] == "duplicate"
        )
        for slot, place in enumerate(stored):
            index = 5 if fate[place][1] == "duplicate" else 7
            ids[place] = MessageId(GroupId(group), index, slot).to_bytes()
        parts.append(Part(SendAnswer(GroupId(group), 7, len(stored), WallMillis(1), refused, duplicates), places))

    # then each caller is told of those of its own batch
    start = 0
    for size in sizes:
        end = start + size
        own = [each for part in parts if (each := part.between(start, end)) is not None]
        outgoing = Outgoing(Packed([1] * size, None, msgspec.Raw(b"")))
        result = sent(outgoing, True, own)
        assert result.message_ids() == ids[start:end]
        assert [place for place, _ in result.refused] == [
            place for place in range(size) if fate[start + place][1] == "refused"
        ]
        start = end
