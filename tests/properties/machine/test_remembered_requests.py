"""Clients that retry, late and out of order, against a group's machine: nothing is done twice, on any replica."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.base.errors import Refusal
from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.machine import envelope
from broker.machine.envelope import Envelope, RequestId
from broker.machine.replicated import ReplicatedMachine
from broker.machine.sessions import Sessions
from tests.unit.machine.counting_room import Add, CountingRoom, Total

WINDOW, MOST, LIFETIME = 4, 3, 1000
sessions = st.sampled_from([b"a", b"b", b"c", b"d"])


def empty_machine() -> ReplicatedMachine:
    return ReplicatedMachine({"count": CountingRoom("count")}, Sessions(WINDOW, MOST, LIFETIME))


class Retries(RuleBasedStateMachine):
    """The yardstick: for each session in order of use, all replies of its numbers, and when it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.machine, self.replica = empty_machine(), empty_machine()
        self.known: dict[bytes, tuple[int, dict[int, Any]]] = {}
        self.at = self.index = self.total = 0

    @rule(session=sessions, number=st.integers(1, 12), amount=st.integers(1, 5))
    def request(self, session: bytes, number: int, amount: int) -> None:
        raw = msgspec.Raw(msgspec.msgpack.encode(Add(amount)))
        reply = self._apply(Envelope(WallMillis(self.at), "count", RequestId(session, number), raw))
        self._forget_idle()
        _, replies = self.known.get(session, (0, {}))
        if replies and number <= max(replies) - WINDOW:
            assert isinstance(reply, Refusal)
            return
        if number not in replies:
            self.total += amount
            replies[number] = Total(self.total, self.index, self.at)
        assert reply == replies[number]
        self.known.pop(session, None)
        self.known[session] = self.at, replies
        if len(self.known) > MOST:
            del self.known[next(iter(self.known))]

    @precondition(lambda self: self.known)
    @rule(after=st.integers(0, 12), data=st.data())
    def replay(self, after: int, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.known)))
        replies = self.known[session][1]
        expected = [
            (number, replies[number]) for number in sorted(replies) if number > after and number > max(replies) - WINDOW
        ]
        assert self.machine.replay(session, after) == self.replica.replay(session, after) == expected

    @rule(step=st.sampled_from([1, 100, LIFETIME - 1, LIFETIME]))
    def tick(self, step: int) -> None:
        self.at += step
        self._apply(Envelope(WallMillis(self.at), envelope.TICK_ROOM, None))
        self._forget_idle()

    @rule()
    def restart_replica(self) -> None:
        pieces = list(self.replica.dump())
        self.replica = empty_machine()
        self.replica.load(pieces)

    @invariant()
    def nothing_is_carried_out_twice(self) -> None:
        assert self.machine.query("count", "", WallMillis(0)) == ("", self.total, self.at)

    @invariant()
    def replicas_are_equal(self) -> None:
        assert list(self.machine.dump()) == list(self.replica.dump())

    # --- inside

    def _apply(self, what: Envelope) -> Any:
        self.index += 1
        data = envelope.encode(what)
        reply = self.machine.apply(data, Index(self.index)).reply
        assert self.replica.apply(data, Index(self.index)).reply == reply
        return reply

    def _forget_idle(self) -> None:
        self.known = {
            name: (used, replies) for name, (used, replies) in self.known.items() if used + LIFETIME > self.at
        }


Retries.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestRetries = Retries.TestCase
