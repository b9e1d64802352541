"""Our core and the naive one in lock-step: the same messages, crashes and changes, and after each the same term, vote,
role, leader, commit index, memberships and log.

What Raft leaves open the naive one is told: when a time-out falls due, and that a leader looked again at what is
agreed. Messages are those of our core; the naive one says which answers they must contain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from broker.base.ids import Index, NodeId, Term
from broker.base.instants import Millis
from broker.raft import election, events, group, messages, quorum
from broker.raft.membership import MembershipHistory
from broker.raft.ready import Ready
from broker.raft.state import State
from broker.raft.types import Entry, Membership, RaftConfig, Role, SnapshotMark
from tests.properties.raft.naive_raft import CANDIDATE, LEADER, NaiveRaft
from tests.unit.raft.replica import Content, Replica, fresh_mark

CONFIG = RaftConfig(max_append_bytes=40, max_inflight_appends=4, max_tail_bytes=60, max_apply_bytes=50)
NODES = "abcde"
_nodes = st.sampled_from(NODES)


class Twin:
    """A replica of ours and its naive twin, which keeps all of its log for ever. ``writes``: what the twin would have
    on disk after each write of ours that waits for a sync."""

    def __init__(self, name: str, founders: str) -> None:
        mark = fresh_mark(*founders) if founders else SnapshotMark(Index(0), Term(0), Membership(()))
        self.ours = Replica(name, mark, config=CONFIG)
        self.ours.syncs_at_once = False
        self.naive = NaiveRaft(name, mark.membership, CONFIG.election_timeout_min, CONFIG.election_timeout_max)
        self.durable: tuple[int, str | None, list[Entry]] = (0, None, [])
        self.writes: list[tuple[int, str | None, list[Entry]]] = []
        self.snapshot: tuple[list[Entry], Membership] = ([], mark.membership)
        self.up = True

    def feed(self, event: Any, now: Millis) -> Ready:
        wanted = self._tell(event, now)
        ready = self.ours.feed(event, now)
        self._settle(now)
        answered = [each.message for each in (*ready.messages, *ready.messages_after_sync)]
        granted = [each.granted for each in answered if type(each) is messages.VoteReply]
        matched = [each.matched for each in answered if type(each) is messages.AppendReply]
        if type(event) is events.Received and type(event.message) is messages.VoteRequest:
            assert granted == ([] if wanted is None else [wanted]), f"{self.naive.me} was asked: {event}"
        if type(event) is events.Received and type(event.message) is messages.Append and wanted:
            assert matched == [True], f"{self.naive.me} was told: {event}"
        return ready

    def _tell(self, event: Any, now: int) -> bool | None:
        naive = self.naive
        match event:
            case events.Received():
                return self._hear(event.sender, event.message, now)
            case events.Propose():
                naive.proposed(event.payloads, now)
            case events.Persisted():
                naive.persisted(event.index, event.term, now)
            case events.ChangeMembership():
                naive.reconfigured(event.target, now)
            case events.TransferLeadership():
                naive.handed_over(event.to)
            case events.PeerClosed():
                naive.closed(event.peer, now)
            case events.Campaign() if now >= naive.loyal_until:
                naive.stand(now)
        return None

    def _hear(self, sender: str, message: Any, now: int) -> bool | None:
        naive = self.naive
        match message:
            case messages.VoteRequest():
                return naive.vote_asked(sender, message, now)
            case messages.VoteReply():
                naive.vote_told(sender, message, now)
            case messages.Append():
                return naive.append_told(sender, message, now)
            case messages.Heartbeat():
                naive.heartbeat_told(sender, message, now)
            case messages.AppendReply() | messages.HeartbeatReply():
                naive.answered(sender, message, now)
            case messages.SnapshotOffer():
                naive.snapshot_told(sender, message, now)
            case messages.TimeoutNow():
                naive.summoned(sender, message.term, now)
        return None

    def wake(self, now: Millis) -> None:
        """Which time-outs are due is for our core to say."""
        state = self.ours.group._state
        if state.role is not state.role.LEADER:
            if state.election_due <= now:
                self.naive.stand(now)
        else:
            if state.transfer_due is not None and state.transfer_due <= now:
                self.naive.heir = None
            if state.heartbeat_due is not None and state.heartbeat_due <= now:
                self.naive.looked_around(now)
        self.ours.wake(now)
        self._settle(now)

    def sync(self, count: int, now: Millis) -> None:
        released, newest = self.ours.disk.sync(count)
        self.ours.outbox += released
        done, self.writes = self.writes[:count], self.writes[count:]
        self.durable = done[-1] if done else self.durable
        if newest is not None:
            self.feed(events.Persisted(newest.index, newest.term), now)

    def restart(self, now: Millis) -> None:
        self.writes.clear()
        naive, (kept, founders) = self.naive, self.snapshot
        naive.term, naive.vote, log = self.durable
        goes_on = len(log) >= len(kept) and (not kept or log[len(kept) - 1].term == kept[-1].term)
        naive.log, naive.founders = list(log if goes_on else kept), founders
        naive.restart(now, commit=len(kept))
        self.ours.start(now)
        self.up = True
        self.compare()

    def compact(self, index: int, keep_from: int, now: Millis) -> None:
        self.snapshot = (self.naive.log[:index], self.naive.founders)
        self.ours.compact(index, keep_from, now)
        self.compare()

    def install(
        self, mark: SnapshotMark, content: Content, log: list[Entry], founders: Membership, now: Millis
    ) -> None:
        wanted = self.naive.role != LEADER and self.naive.lacks(mark.index, mark.term)
        assert self.ours.group.wants_snapshot(mark) == wanted
        if self.ours.install(mark, content, now):
            self.naive.founders = founders
            self.naive.installed(log)
            self.snapshot = (list(log), founders)
            self.durable, self.writes = (self.naive.term, self.naive.vote, list(log)), []
        self.compare()

    def _settle(self, now: int) -> None:
        ours = self.ours.group
        if ours.commit_index > self.naive.commit:
            self.naive._advance(ours.commit_index, now)
        while len(self.writes) < len(self.ours.disk.waiting):
            self.writes.append((self.naive.term, self.naive.vote, list(self.naive.log)))
        self.compare()

    def compare(self) -> None:
        ours, naive = self.ours.group, self.naive
        role, leader = (CANDIDATE, None) if naive.alone else (naive.role, naive.leader)
        told = (int(ours.role), ours.term, ours._state.vote, ours.leader, ours.commit_index, ours.last_index)
        assert told == (role, naive.term, naive.vote, leader, naive.commit, len(naive.log)), naive.me
        assert ours.membership == naive.membership, naive.me
        written = self.ours.disk.written
        for index in range(ours.first_index, ours.last_index + 1):
            assert written[index] == naive.log[index - 1], f"{naive.me} at {index}"


class LockStep(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = Millis(0)
        self.wires: list[tuple[str, str, Any]] = []
        self.transfers: dict[str, tuple[str, SnapshotMark, Content, list[Entry], Membership]] = {}
        self.twins: dict[str, Twin] = {}
        self.proposed = 0
        self.apart: set[str] = set()

    @initialize(founders=st.sampled_from(("a", "ab", "abc", "abc", "abcd")))
    def found(self, founders: str) -> None:
        self.twins = {name: Twin(name, founders if name in founders else "") for name in NODES}
        self.work(12)

    def collect(self) -> None:
        for name, twin in self.twins.items():
            ours = twin.ours
            self.wires += [(name, each.to, each.message) for each in ours.outbox if twin.up]
            ours.outbox.clear()
            for peer in ours.wanted:
                log = twin.naive.log[: ours.disk.mark.index]
                self.transfers[peer] = (name, ours.disk.mark, ours.disk.content, log, twin.naive.founders)
            ours.wanted.clear()
        self._lose_what_is_cut()

    def feed(self, name: str, event: Any) -> None:
        if self.twins[name].up:
            self.twins[name].feed(event, self.now)
            self.collect()

    def _lose_what_is_cut(self) -> None:
        self.wires = [wire for wire in self.wires if (wire[0] in self.apart) == (wire[1] in self.apart)]

    def live(self) -> list[Twin]:
        return [twin for twin in self.twins.values() if twin.up]

    @rule(rounds=st.integers(1, 12))
    def work(self, rounds: int) -> None:
        """All is well for a while: time passes, disks sync, messages arrive in order."""
        for _ in range(rounds):
            self.elapse(CONFIG.heartbeat_interval)
            for _ in range(3):
                for twin in self.live():
                    twin.sync(len(twin.writes), self.now)
                self.collect()
                wires, self.wires = self.wires, []
                for sender, receiver, message in wires:
                    self.feed(receiver, events.Received(NodeId(sender), message))

    @rule(duration=st.sampled_from((1, 20, 100, 300, 1_300)))
    def elapse(self, duration: int) -> None:
        self.now = Millis(self.now + duration)
        for twin in self.live():
            due = twin.ours.group.next_deadline()
            if due is not None and due <= self.now:
                twin.wake(self.now)
        self.collect()

    @rule(
        picks=st.lists(st.integers(0, 1_000), min_size=1, max_size=8), fate=st.sampled_from(("", "", "lost", "twice"))
    )
    def deliver(self, picks: list[int], fate: str) -> None:
        """In any order."""
        for pick in picks:
            if self.wires:
                sender, receiver, message = self.wires.pop(pick % len(self.wires))
                if fate == "twice":
                    self.wires.append((sender, receiver, message))
                if fate != "lost":
                    self.feed(receiver, events.Received(NodeId(sender), message))

    @rule(apart=st.sets(_nodes, max_size=2))
    def part(self, apart: set[str]) -> None:
        """Those and the others do not hear one another, until other ones part."""
        self.apart = apart
        self._lose_what_is_cut()

    @rule(name=_nodes, count=st.integers(1, 4))
    def sync(self, name: str, count: int) -> None:
        if self.twins[name].up:
            self.twins[name].sync(count, self.now)
            self.collect()

    @rule(name=_nodes, count=st.integers(1, 3), size=st.integers(1, 30))
    def propose(self, name: str, count: int, size: int) -> None:
        payloads = [b"%d" % (self.proposed + number) * size for number in range(count)]
        self.proposed += count
        self.feed(name, events.Propose(payloads))

    @rule(name=_nodes, told=st.booleans())
    def crash(self, name: str, told: bool) -> None:
        """What was not synced is lost."""
        twin = self.twins[name]
        if twin.up:
            twin.up = False
            twin.ours.outbox.clear()
            self.transfers = {to: what for to, what in self.transfers.items() if name not in (to, what[0])}
            for other in self.live():
                if told:
                    self.feed(other.naive.me, events.PeerClosed(NodeId(name)))

    @rule(name=_nodes)
    def restart(self, name: str) -> None:
        if not self.twins[name].up:
            self.twins[name].restart(self.now)

    @rule(name=_nodes)
    def campaign(self, name: str) -> None:
        self.feed(name, events.Campaign())

    @rule(voters=st.sets(_nodes, min_size=1), learners=st.sets(_nodes))
    def reconfigure(self, voters: set[str], learners: set[str]) -> None:
        target = Membership(_sorted(voters), (), _sorted(learners - voters))
        for name in NODES:
            self.feed(name, events.ChangeMembership(target))

    @rule(node=_nodes, comes=st.booleans())
    def change_one_learner(self, node: str, comes: bool) -> None:
        for twin in self.live():
            voters, learners = set(twin.naive.membership.voters), set(twin.naive.membership.learners)
            if node not in voters:
                learners = learners | {node} if comes else learners - {node}
                self.feed(twin.naive.me, events.ChangeMembership(Membership(_sorted(voters), (), _sorted(learners))))

    @rule(heir=_nodes)
    def hand_over(self, heir: str) -> None:
        for name in NODES:
            self.feed(name, events.TransferLeadership(NodeId(heir)))

    @rule(name=_nodes, back=st.integers(0, 5), keep=st.integers(0, 5))
    def compact(self, name: str, back: int, keep: int) -> None:
        """A mark becomes durable after all that was written before it."""
        twin = self.twins[name]
        if twin.up:
            twin.sync(len(twin.writes), self.now)
            group, applied = twin.ours.group, twin.ours.applied
            index = max(group.snapshot_index, applied - back)
            if index > group.snapshot_index:
                twin.compact(index, max(group.first_index, index + 1 - keep), self.now)
            self.collect()

    @rule(ok=st.booleans())
    def end_snapshots(self, ok: bool) -> None:
        for name, (sender, mark, content, log, founders) in list(self.transfers.items()):
            del self.transfers[name]
            arrives = ok and self.twins[name].up
            if arrives:
                self.twins[name].install(mark, content, log, founders, self.now)
            self.collect()
            self.feed(sender, events.SnapshotSent(NodeId(name), arrives))


def _sorted(nodes: set[str]) -> tuple[NodeId, ...]:
    return tuple(NodeId(node) for node in sorted(nodes))


_SETTINGS = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLockStep = LockStep.TestCase
TestLockStep.settings = _SETTINGS


# --- it bites


def count_the_new_half_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quorum, "reached", lambda membership, values: quorum._reached(membership.voters, values))


def let_learners_count(patch: pytest.MonkeyPatch) -> None:
    reached = quorum.reached

    def everybody(membership: Membership, values: dict[NodeId, int]) -> int:
        voters = (*membership.voters, *membership.learners)
        return reached(msgspec.structs.replace(membership, voters=voters), values)

    patch.setattr(quorum, "reached", everybody)


def vote_again_and_again(patch: pytest.MonkeyPatch) -> None:
    def forgetful(state: State, sender: NodeId, message: messages.VoteRequest) -> None:
        if message.term == state.term and not message.pre and state.role is Role.FOLLOWER:
            state.vote = None
        election.on_vote_request(state, sender, message)

    patch.setitem(group._MESSAGES, messages.VoteRequest, forgetful)


def take_every_membership_for_committed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MembershipHistory, "current_index", property(lambda self: Index(0)))


BUGS = [count_the_new_half_alone, let_learners_count, vote_again_and_again, take_every_membership_for_committed]


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_mistake_is_noticed(
    bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    with pytest.raises(AssertionError):
        search()


def search() -> None:
    """More than once: Hypothesis may look where there is little to see."""
    for _ in range(4):
        run_state_machine_as_test(
            LockStep, settings=settings(_SETTINGS, max_examples=300, phases=[Phase.generate], database=None)
        )
