"""What happened in a group, told by hand: how the checkers themselves are tested."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId, MessageId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues import commands, model, questions
from tests.simulation.judge import Judge

QUEUE, DEAD = QueueId(1), QueueId(2)
HERE, THERE = GroupId(1), GroupId(2)
SECOND = 1_000

_encoder = msgspec.msgpack.Encoder()


class Hearing:
    """Log indexes ascend from 1, one for each thing told; ``now`` is machine time of all groups. A queue of the kind
    that ``name`` says exists, and its dead-letter queue in another group."""

    def __init__(self, name: str = "orders", **attributes: Any) -> None:
        self.reached: Counter[str] = Counter()
        self.judge = Judge(self.reached)
        self.name = name
        self.index = 0
        self.now = 1_000_000
        suffix = model.FIFO_SUFFIX if model.is_fifo(name) else ""
        self.dead = model.Target(f"dead{suffix}", DEAD, (THERE,))
        redrive = model.RedrivePolicy(self.dead.name, 1)
        made = model.QueueAttributes(**{"redrive": redrive, **attributes})
        self.tell(commands.CreateQueue(QUEUE, name, made, (HERE,), self.dead), commands.Done())
        dead = commands.CreateQueue(DEAD, self.dead.name, model.QueueAttributes(), (THERE,))
        self.tell(dead, commands.Done(), group=THERE)

    def tell(self, command: Any, reply: Any, *parcels: questions.Parcel, group: GroupId = HERE, later: int = 1) -> int:
        """Something was applied, ``later`` ms after what came before; its log index."""
        self.index += 1
        self.now += later
        self.judge.passed(group, self.now)
        self.judge.applied(group, command, reply, parcels, self.index, self.now)
        return self.index

    def sent(self, count: int = 1, duplicates: dict[int, int] | None = None, **fields: Any) -> int:
        messages = [model.Message(b"body %d" % slot) for slot in range(count)]
        raw = msgspec.Raw(_encoder.encode(messages))
        send = commands.Send(QUEUE, count, 6, None, raw, **fields)
        reply = commands.Sent(self.index + 1, count, WallMillis(0), tuple((duplicates or {}).items()))
        return self.tell(send, reply)

    def received(
        self,
        *handed_out: commands.Delivery,
        parcels: tuple[questions.Parcel, ...] = (),
        timeout: int = 30 * SECOND,
        most: int = 10,
        attempt: str = "",
        later: int = 1,
    ) -> int:
        receive = commands.Receive(QUEUE, most, Millis(timeout), attempt)
        reply = commands.Deliveries(handed_out, WallMillis(self.now + later + timeout))
        return self.tell(receive, reply, *parcels, later=later)

    def delivery(self, index: int, slot: int = 0, later: int = 1, **told: Any) -> commands.Delivery:
        """A true one, of a receive that comes next and ``later`` ms from now, but for what is ``told`` otherwise."""
        held = self.judge.model(HERE).queues[QUEUE].messages.get((index, slot))
        facts = {
            "receipt": self.index + 1,
            "receive_count": 1 if held is None else held.receive_count + 1,
            "sent_at": 0 if held is None else held.sent_at,
            "first_received_at": (held and held.first_received_at) or self.now + later,
            "group": "" if held is None else held.group,
        }
        return commands.Delivery(index, slot, **{**facts, **told})

    def parcel(self, number: int, index: int, slot: int = 0) -> questions.Parcel:
        """A message that leaves for the dead-letter queue."""
        held = self.judge.model(HERE).queues[QUEUE].messages[index, slot]
        sent, count = WallMillis(held.sent_at), held.receive_count
        return questions.Parcel(number, QUEUE, self.name, index, slot, sent, count, held.group, self.dead)

    def arrived(self, parcel: questions.Parcel, body: bytes = b"body 0", refusal: Refusal | None = None) -> int:
        left = MessageId(HERE, parcel.index, parcel.slot).to_bytes()
        origin = model.Origin(parcel.name, QUEUE, HERE, left, parcel.sent_at, parcel.receive_count)
        messages = msgspec.Raw(_encoder.encode([model.Message(body, (), origin)]))
        arrival = commands.Arrival(parcel.number, DEAD, len(body), parcel.group)
        refused = () if refusal is None else ((parcel.number, refusal),)
        arrive = commands.Arrive(HERE, parcel.number, (arrival,), messages)
        return self.tell(arrive, commands.Arrived(refused), group=THERE)

    def shipped(self, *accepted: int, returned: dict[int, Refusal] | None = None) -> int:
        return self.tell(commands.Shipped(accepted, tuple((returned or {}).items())), commands.Done())
