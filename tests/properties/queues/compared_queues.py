"""A queue machine, a replica of it and the naive model, told the same: what is common to standard and FIFO queues.

``replica`` applies the same log and is replaced by what its own dump loads to, now and then; only the machine is asked
questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any, ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.base.errors import Refusal
from broker.base.ids import GroupId, Index, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues import commands, questions
from broker.domain.queues.commands import Arrival, Deliveries, Results
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.model import STATES, Handle, QueueAttributes, Target
from broker.machine.contract import Applied, Place, Wake
from tests.properties.queues import naive_looking
from tests.properties.queues.naive_queue import Rules, code_of
from tests.properties.queues.naive_queues import NaiveQueues

RULES = Rules(in_flight_limit=12, noisy_in_flight=3, noisy_percent=50, max_moving=4)
ERA = 1 << 32
MESSAGES = msgspec.Raw(msgspec.msgpack.encode([]))
GONE = Refusal("QueueNotFound", "it is gone")

starts = st.sampled_from([1_700_000_000_000, 400 * ERA - 70_000])
places = st.sampled_from([0, 0, 0, 1])
leaps = st.sampled_from([1, 10, 10, 500, 1_000, 1_000, 5_000, 30_000, 30_000, 60_000, 300_000, 43_200_000])
steps = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, 1, 9, 10, 500, 1_000, 30_000])
strange_handles = st.builds(Handle, st.integers(0, 60), st.integers(0, 6), st.integers(0, 99))
timeouts = st.sampled_from([0, 1, 1_000, 30_000, 30_000, 43_200_000])


class ComparedQueues(RuleBasedStateMachine):
    """Two queues; a deleted one is made anew with another id, as ids are never used again."""

    names: ClassVar[tuple[str, str]]
    targets: ClassVar[tuple[Target, ...]]

    def begin_with(self, start: int, attributes: tuple[QueueAttributes, QueueAttributes]) -> None:
        self.machine = QueueMachine(RULES.in_flight_limit)
        self.replica = QueueMachine(RULES.in_flight_limit)
        self.naive = NaiveQueues(RULES)
        self.at = start
        self.index = 0
        self.last_id = 0
        self.ids = [QueueId(0), QueueId(0)]
        self.handles: list[list[Handle]] = [[], []]
        self.brought = 0
        self.captured: list[tuple[Iterator[bytes], list[bytes]]] = []
        for place in (0, 1):
            self.create_anew(place, attributes[place])

    def create_anew(self, place: int, attributes: QueueAttributes) -> None:
        if self.ids[place] not in self.naive.queues:
            self.last_id += 1
            self.ids[place] = QueueId(self.last_id)
        self.apply(commands.CreateQueue(self.ids[place], self.names[place], attributes, (), self.target_of(attributes)))

    def new_messages(self, place: int, groups: tuple[str, ...]) -> commands.Send:
        """That no queue takes for known."""
        raise NotImplementedError

    def target_of(self, attributes: QueueAttributes) -> Target | None:
        named = attributes.redrive and attributes.redrive.target
        return next((target for target in self.targets if target.name == named), None)

    # --- queues

    @rule(place=places, what=st.integers(0, 9), handle=strange_handles)
    def do_what_is_rarely_done(self, place: int, what: int, handle: Handle) -> None:
        if what < 2:
            self.apply(commands.DeleteQueue(self.ids[place], only_if_empty=bool(what)))
        elif what < 5:
            target = self.targets[0] if what < 4 else Target("other", QueueId(70), ())
            self.apply(commands.Retarget(self.ids[place], Target(target.name, QueueId(70 + what), (GroupId(3),))))
        elif what < 7:
            self.apply(commands.Delete(QueueId(99), (handle,)))
        else:
            self.apply(commands.Delete(self.ids[place], (handle,)))

    @rule(step=steps, place=places)
    def purge(self, step: int, place: int) -> None:
        self.at += step
        self.apply(commands.PurgeQueue(self.ids[place]))

    # --- messages

    @rule(step=steps, place=places, maximum=st.integers(1, 12), timeout=st.none() | timeouts)
    def receive(self, step: int, place: int, maximum: int, timeout: Millis | None) -> None:
        self.at += step
        self.take(place, commands.Receive(self.ids[place], maximum, timeout))

    @rule(place=places, times=st.integers(2, 8), maximum=st.integers(1, 3), timeout=st.sampled_from([0, 43_200_000]))
    def receive_again_and_again(self, place: int, times: int, maximum: int, timeout: Millis) -> None:
        for _ in range(times):
            self.take(place, commands.Receive(self.ids[place], maximum, timeout))

    @rule(place=places, maximum=st.integers(6, 12), firsts=st.booleans())
    def give_some_back_as_if_unseen(self, place: int, maximum: int, firsts: bool) -> None:
        """Of every message group the first that was received, or all the others."""
        group = f"group-{self.index}"
        self.apply(self.new_messages(place, (group, group, group)))
        reply = self.take(place, commands.Receive(self.ids[place], maximum, Millis(1_000)))
        some: tuple[Handle, ...] = ()
        met: set[str] = set()
        for each in reply.deliveries if isinstance(reply, Deliveries) else ():
            if (each.group not in met) == firsts:
                some += (Handle(each.index, each.slot, each.receipt),)
            met.add(each.group)
        if some:
            zeros = (Millis(0),) * len(some)
            self.apply(commands.ChangeVisibility(self.ids[place], some, zeros, uncounted=True))
        self.tick(1_000)
        self.take(place, commands.Receive(self.ids[place], maximum, Millis(30_000)))

    @rule(step=steps, place=places, data=st.data())
    def delete(self, step: int, place: int, data: st.DataObject) -> None:
        self.at += step
        handles = data.draw(self.some_handles(place))
        if handles:
            self.apply(commands.Delete(self.ids[place], tuple(handles)))

    @rule(place=places, maximum=st.integers(1, 4), times=st.integers(1, 2))
    def receive_and_let_time_out(self, place: int, maximum: int, times: int) -> None:
        for _ in range(times):
            self.take(place, commands.Receive(self.ids[place], maximum, Millis(1_000)))
            self.tick(1_000)

    @rule(place=places, keep=st.integers(0, 2))
    def delete_all_but_few(self, place: int, keep: int) -> None:
        handles = self.handles[place][-12:][keep:]
        if handles:
            self.apply(commands.Delete(self.ids[place], tuple(handles)))

    @rule(step=steps, place=places, data=st.data(), uncounted=st.booleans())
    def change_visibility(self, step: int, place: int, data: st.DataObject, uncounted: bool) -> None:
        self.at += step
        handles = data.draw(self.some_handles(place))
        each = data.draw(st.lists(timeouts | st.just(43_200_001), min_size=len(handles), max_size=len(handles)))
        if handles:
            command = commands.ChangeVisibility(
                self.ids[place], tuple(handles), tuple(map(Millis, each)), uncounted=uncounted
            )
            self.apply(command)

    # --- what goes from queue to queue

    @rule(place=places, rate=st.sampled_from([0, 0, 1, 7, 500]), back=st.booleans())
    def start_move(self, place: int, rate: int, back: bool) -> None:
        self.apply(commands.StartMove(self.ids[place], None if back else self.targets[0], rate, "label"))

    @rule(place=places, which=st.integers(0, 2))
    def cancel_move(self, place: int, which: int) -> None:
        queue = self.naive.queues.get(self.ids[place])
        tasks = [task.task for task in queue.tasks] if queue is not None else []
        self.apply(commands.CancelMove(self.ids[place], ([*reversed(tasks), 9_999] * 3)[which]))

    @rule(step=steps, data=st.data())
    def ship(self, step: int, data: st.DataObject) -> None:
        """Any order, also what was answered for before."""
        self.at += step
        numbers = st.integers(1, self.naive.departed + 1)
        if self.naive.outbox:
            numbers |= st.sampled_from([departure.number for departure in self.naive.outbox])
        answers = data.draw(st.lists(numbers, max_size=6, unique=True))
        accepted = data.draw(st.integers(0, len(answers)))
        self.apply(commands.Shipped(tuple(answers[:accepted]), tuple((each, GONE) for each in answers[accepted:])))

    @rule()
    def ship_all(self) -> None:
        self.apply(commands.Shipped(tuple(departure.number for departure in self.naive.outbox)))

    @rule(
        step=steps,
        source=st.sampled_from([5, 6]),
        again=st.integers(0, 3),
        settled=st.integers(0, 3),
        coming=st.lists(
            st.tuples(places | st.just(9), st.sampled_from([1, 1, 2_000]), st.sampled_from(["", "a", "b"])), max_size=5
        ),
    )
    def arrive(self, step: int, source: int, again: int, settled: int, coming: list[tuple[int, int, str]]) -> None:
        """Numbers that ascend with gaps, the last ones perhaps repeated."""
        self.at += step
        highest = self.naive.highest.get(source, 0)
        first = max(1, highest + 1 - again)
        numbers = [first + position for position in range(again)] + [highest + 2 * each for each in range(1, 6)]
        arrivals = tuple(
            Arrival(number, self.queue_at(place), size, group)
            for number, (place, size, group) in zip(sorted(set(numbers)), coming, strict=False)
        )
        self.apply(commands.Arrive(GroupId(source), max(0, first - settled), arrivals, MESSAGES))

    def queue_at(self, place: int) -> QueueId:
        return self.ids[place] if place < 2 else QueueId(99)

    # --- time, dumps

    @rule(step=leaps)
    def tick(self, step: int) -> None:
        self.at += step
        departed = self.naive.departed
        effects = self.machine.advance(WallMillis(self.at))
        assert self.replica.advance(WallMillis(self.at)) == effects
        self.naive.tick(self.at)
        self._check_effects(effects, departed)

    @rule()
    def tick_when_asked_to(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is not None:
            self.tick(max(0, deadline - self.at))

    @rule()
    def restart_replica(self) -> None:
        self.replica = _loaded(list(self.replica.dump()))

    @rule()
    def capture(self) -> None:
        self.captured.append((self.machine.dump(), list(self.machine.dump())))

    @precondition(lambda self: self.captured)
    @rule()
    def encode_what_was_captured(self) -> None:
        pieces, expected = self.captured.pop(0)
        assert list(pieces) == expected

    # --- looking

    @rule(
        place=places,
        states=st.sets(st.sampled_from(STATES)),
        after=st.integers(0, 20),
        limit=st.integers(1, 20),
        since=st.integers(0, 60_000),
        until=st.none() | st.integers(0, 60_000),
    )
    def look(self, place: int, states: set[str], after: int, limit: int, since: int, until: int | None) -> None:
        earliest = WallMillis(max(0, self.at - since))
        latest = None if until is None else WallMillis(self.at - until)
        queue = self.naive.queues.get(self.ids[place])
        if queue is not None:
            key = queue.messages[after].key if after < len(queue.messages) else -1
            question = questions.Browse(self.ids[place], tuple(sorted(states)), key, limit, earliest, latest)
            assert self.ask(question) == naive_looking.browse(queue, question)
            bounds = tuple(sorted({earliest, WallMillis(self.at - since // 2), latest or earliest}))
            census = questions.CensusOf(self.ids[place], bounds, limit % 4)
            assert self.ask(census) == naive_looking.census(queue, census)

    # --- what always holds

    @invariant()
    def replicas_are_equal_and_so_is_a_loaded_one(self) -> None:
        dump = list(self.machine.dump())
        assert list(self.replica.dump()) == dump
        assert list(_loaded(dump).dump()) == dump

    @invariant()
    def counts_are_exact_and_nothing_is_lost(self) -> None:
        for identity, queue in self.naive.queues.items():
            counts = self.ask(questions.CountsOf(QueueId(identity)))
            assert counts == naive_looking.counts(queue)
            here = counts.visible + counts.in_flight + counts.delayed
            gone = counts.deleted_total + counts.expired_total + counts.moved_total
            assert here + gone == counts.sent_total + counts.arrived_total

    @invariant()
    def what_leaves_is_in_the_outbox(self) -> None:
        assert self.ask(questions.Leaving()) == self.naive.parcels()

    @invariant()
    def move_tasks_are_as_far(self) -> None:
        for identity in self.naive.queues:
            assert self.ask(questions.MovesOf(QueueId(identity))) == self.naive.moves_of(identity)

    @invariant()
    def live_entries_are_those_of_the_messages(self) -> None:
        ranges = list(self.machine.live_entries())
        assert set(chain.from_iterable(range(first, last + 1) for first, last in ranges)) == self.naive.live_indexes()
        assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))

    @invariant()
    def the_next_deadline_is_the_next_change(self) -> None:
        assert self.machine.next_deadline() == self.naive.next_change() == self.replica.next_deadline()

    @invariant()
    def who_asks_is_told_whether_a_receive_finds_something(self) -> None:
        deadline = self.machine.next_deadline()
        if deadline is None or deadline > self.at:
            for identity, queue in self.naive.queues.items():
                assert self.ask(questions.HasVisible(QueueId(identity))) == queue.is_ready()

    # --- inside

    def take(self, place: int, command: commands.Receive) -> Any:
        may_find = self.ask(questions.HasVisible(command.queue)) is not False
        if command.attempt:
            may_find |= self.ask(questions.KnowsAttempt(command.queue, command.attempt)) is not False
        reply = self.apply(command)
        if isinstance(reply, Deliveries):
            assert may_find or not reply.deliveries
            self.handles[place] += [Handle(each.index, each.slot, each.receipt) for each in reply.deliveries]
        return reply

    def ask(self, question: Any) -> Any:
        return self.machine.query(question, WallMillis(self.at))

    def apply(self, command: commands.Command) -> Any:
        self.index += 1
        departed = self.naive.departed
        encoded = msgspec.msgpack.encode(command)
        place = Place(Index(self.index), WallMillis(self.at))
        applied = self.machine.apply(encoded, place)
        assert self.replica.apply(encoded, place) == applied
        expected = self.naive.apply(command, self.index, self.at)
        assert _plain(applied) == expected, command
        if not isinstance(command, commands.DeleteQueue) or expected != commands.Done():
            self._check_effects(applied.effects, departed)
        return applied.reply

    def _check_effects(self, effects: tuple[Any, ...], departed: int) -> None:
        assert all(isinstance(effect, Wake) for effect in effects)
        woken = {effect.key: effect.count for effect in effects}
        assert len(woken) == len(effects)
        assert (woken.pop(("outbox", 0), 0) > 0) == (self.naive.departed > departed)
        for identity, queue in self.naive.queues.items():
            queue.check_woken(woken.pop(("queue", identity), 0))
        assert not woken

    def some_handles(self, place: int) -> st.SearchStrategy[list[Handle]]:
        """Mostly of the queue, mostly recent; sometimes of the other one, sometimes the same twice."""
        recent = self.handles[place][-12:]
        others = self.handles[1 - place][-1:]
        return st.lists(st.sampled_from(recent + others), max_size=8) if recent or others else st.just([])


def _loaded(dump: list[bytes]) -> QueueMachine:
    machine = QueueMachine(RULES.in_flight_limit)
    machine.load(dump)
    return machine


def _plain(applied: Applied) -> object:
    reply = applied.reply
    if isinstance(reply, commands.Refused):
        return reply.refusal.code
    if isinstance(reply, Results | commands.Arrived):
        return code_of(reply.refused)
    return reply
