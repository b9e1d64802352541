"""The checkers of queues bite: each promise of complete queues is broken on purpose, and the seeds must find it, by the
checker that is meant to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from broker.domain.queues import dump, fairness
from broker.domain.queues.deduplication import Attempts, Deduplication
from broker.domain.queues.fifo import FifoQueue
from broker.domain.queues.lifetimes import Lifetimes
from broker.domain.queues.message_groups import MessageGroup
from broker.domain.queues.move_task import MoveTask
from broker.domain.queues.picking import Picking
from broker.domain.queues.queue import Queue
from broker.domain.queues.returned import ReturnedList
from broker.domain.queues.standard import StandardQueue
from broker.machine.arrivals import Arrivals
from broker.services.carrying import Answered, Carrying, Unanswered
from tests.simulation.load import Load
from tests.simulation.planting import CALM, CRASHES, DURATION, findings, under
from tests.simulation.rates import Rates
from tests.simulation.run import run_seed
from tests.simulation.world import MILLISECOND

PLAIN = Load(queues=2, producers=3, consumers=3, counters=1, think=100 * MILLISECOND, batch=4, visibility=300)
FIFO = msgspec.structs.replace(PLAIN, queues=1, fifo=True)
DEAD_LETTERS = msgspec.structs.replace(PLAIN, queues=1, dead_letters=True)
MOVES = msgspec.structs.replace(DEAD_LETTERS, moves=True)
REFUSALS = msgspec.structs.replace(DEAD_LETTERS, replacing=True)
TENANTS = msgspec.structs.replace(PLAIN, queues=1, tenants=True, visibility=4_000)
SCHEDULES = msgspec.structs.replace(PLAIN, queues=1, schedules=True)
LIFETIMES = msgspec.structs.replace(PLAIN, queues=1, lifetimes=True, consumers=1, think=500 * MILLISECOND)
EXCHANGES = msgspec.structs.replace(PLAIN, exchanges=True)


def forget_what_was_sent_at_failover(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deduplication, "capture", lambda self: [])


def hand_out_of_busy_groups(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FifoQueue, "_is_free", lambda self, group: group.first_key() < self.unripe.first_key())


def hand_out_new_messages_first(patch: pytest.MonkeyPatch) -> None:
    take = FifoQueue._take

    def impatient(self: FifoQueue, picking: Picking, group: MessageGroup, wanted: int) -> int:
        returned, group.returned = group.returned, ReturnedList()
        taken = take(self, picking, group, wanted)
        group.returned = returned
        return taken or take(self, picking, group, wanted)

    patch.setattr(FifoQueue, "_take", impatient)


def forget_attempts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Attempts, "find", lambda self, identity: None)


def confirm_before_the_far_side_has_it(patch: pytest.MonkeyPatch) -> None:
    handle = Carrying.handle

    def hopeful(self: Carrying[Any], happened: Any, now: Any) -> Any:
        if isinstance(happened, Unanswered):
            happened = Answered(happened.target, ())
        return handle(self, happened, now)

    patch.setattr(Carrying, "handle", hopeful)


def forget_what_arrived(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Arrivals, "seen", lambda self, source, number: False)


def forget_what_arrived_at_failover(patch: pytest.MonkeyPatch) -> None:
    capture = dump.capture

    def careless(queues: Any, moving: Any) -> Any:
        arrivals, moving.arrivals = moving.arrivals, Arrivals()
        captured = capture(queues, moving)
        moving.arrivals = arrivals
        return captured

    patch.setattr(dump, "capture", careless)


def drop_what_is_returned(patch: pytest.MonkeyPatch) -> None:
    come_back = Queue.come_back

    def careless(self: Queue, group: str, row: Any, lives_until: int, at: int) -> int:
        come_back(self, group, row, 1, at)
        return 1

    patch.setattr(Queue, "come_back", careless)


def deliver_and_move(patch: pytest.MonkeyPatch) -> None:
    take = Picking._take_returned

    def both(self: Picking, group: MessageGroup, taken: Any, wanted: int, below: int) -> int:
        limit, self.most_receives = self.most_receives, None
        rows = [row for row in group.returned.rows(-1) if row[0] < below][:wanted]
        count = take(self, group, taken, wanted, below)
        self.most_receives = limit
        if limit is not None:
            self.dead += [(group, row) for row in rows if row[4] >= limit]
        return count

    patch.setattr(Picking, "_take_returned", both)


def move_without_haste_or_rate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MoveTask, "may_take", lambda self, at: 1)


def forget_instants(patch: pytest.MonkeyPatch) -> None:
    place = StandardQueue._place
    patch.setattr(StandardQueue, "_place", lambda self, key, at, group, due: place(self, key, at, group, 0))


def cancel_in_words_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StandardQueue, "cancel", lambda self, key: True)


def treat_all_tenants_alike(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fairness, "is_noisy", lambda held, in_flight: False)


def let_messages_live(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lifetimes, "ended", lambda self, at: iter(()))


def exchange_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Queue, "holds", lambda self, handle: True)


def wake_nobody_when_delays_end(patch: pytest.MonkeyPatch) -> None:
    surface = Queue.surface
    patch.setattr(Queue, "surface", lambda self, at: surface(self, at) and 0)


ON_THE_WAY = "a message on its way is neither lost nor doubled"

BUGS = [
    (forget_what_was_sent_at_failover, CRASHES, FIFO, "nothing is enqueued twice within five minutes"),
    (hand_out_of_busy_groups, CALM, FIFO, "one open delivery per message group"),
    (hand_out_new_messages_first, CALM, FIFO, "messages of a group come in order"),
    (forget_attempts, CALM, FIFO, "a receive attempt is answered again with the same messages"),
    (confirm_before_the_far_side_has_it, CRASHES, DEAD_LETTERS, ON_THE_WAY),
    (forget_what_arrived, CALM, DEAD_LETTERS, "counts are exact"),
    (forget_what_arrived_at_failover, CRASHES, DEAD_LETTERS, "machines are identical at equal index"),
    (drop_what_is_returned, CALM, REFUSALS, "counts are exact"),
    (deliver_and_move, CALM, DEAD_LETTERS, "a message is in one place"),
    (move_without_haste_or_rate, CALM, MOVES, "a move task keeps its rate"),
    (forget_instants, CALM, SCHEDULES, "nothing is delivered before its time"),
    (cancel_in_words_only, CALM, SCHEDULES, "a cancelled message is never delivered"),
    (treat_all_tenants_alike, CALM, TENANTS, "no noisy message group passes a quiet one"),
    (let_messages_live, CALM, LIFETIMES, "nothing is delivered after its life"),
    (wake_nobody_when_delays_end, CALM, PLAIN, "who waits for messages is woken"),
    (exchange_for_nothing, CALM, EXCHANGES, "an exchange does both or neither"),
]


@pytest.mark.parametrize(("bug", "rates", "load", "checker"), BUGS, ids=[bug.__name__ for bug, *_ in BUGS])
def test_a_planted_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None],
    rates: Rates,
    load: Load,
    checker: str,
    monkeypatch: pytest.MonkeyPatch,
):
    bug(monkeypatch)
    assert checker in findings(rates, {checker}, load)


@pytest.mark.parametrize(
    "load", [FIFO, MOVES, REFUSALS, TENANTS], ids=["fifo", "dead letters and moves", "refusals", "tenants"]
)
def test_without_a_bug_the_same_load_breaks_nothing(load: Load):
    for seed in range(3):
        outcome = run_seed(seed, DURATION, adjust=under(CRASHES, load))
        assert not outcome.checker, f"seed {seed}: {outcome.checker}\n{outcome.story}"
