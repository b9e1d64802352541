"""The checkers bite: known bugs are planted, and the seeds must find each of them, by the checkers that are meant to.

Each bug is one that authors of brokers or of consensus have really shipped. A bug that no seed finds is a hole in the
faults or in the checkers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from broker.base.ids import Term
from broker.domain.queues.commands import Deliveries
from broker.domain.queues.machine import QueueMachine
from broker.domain.queues.queue import Queue
from broker.machine.sessions import Sessions
from broker.raft import group as raft_group
from broker.raft import leading
from broker.raft.messages import Append
from broker.replication.outbox import Outbox
from broker.replication.promises import Promises
from broker.replication.replica import Replica
from broker.storage import segment
from broker.storage.blocks import BlockReader
from broker.storage.store import Store
from tests.simulation.planting import CALM, CRASHES, DURATION, PARTITIONS, ROT, TURMOIL, findings, under
from tests.simulation.rates import Rates
from tests.simulation.run import run_seed


def acknowledge_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "send_after_sync", Outbox.send)


def forget_votes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "stage_hard_state", lambda self, group, state: None)


def answer_reads_without_asking_anyone(patch: pytest.MonkeyPatch) -> None:
    def query(self: Replica, asked: Any, at: Any, out: Outbox) -> None:
        if self.leads:
            out.answer(asked.token, self.machine.query(asked.room, asked.question, at.wall))
        else:
            out.fail(asked.token, self.not_leader())

    patch.setattr(Replica, "query", query)


def ignore_visibility(patch: pytest.MonkeyPatch) -> None:
    receive = Queue.receive

    def careless(self: Queue, command: Any, timeout: int, index: int, at: Any) -> tuple[Deliveries, Any, int]:
        received, picking, visible = receive(self, command, 0, index, at)
        return Deliveries(received.deliveries, at + timeout), picking, visible

    patch.setattr(Queue, "receive", careless)


def forget_requests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sessions, "recall", lambda self, name, number: None)


def forget_requests_in_snapshots(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sessions, "load", lambda self, pieces: [None for _ in pieces] and None)


def skip_the_check_of_the_previous_entry(patch: pytest.MonkeyPatch) -> None:
    on_append = raft_group._MESSAGES[Append]

    def trusting(state: Any, sender: Any, message: Append) -> None:
        found = state.log.term_at(message.prev_index)
        if found is not None and message.entries and found <= message.entries[0].term:
            message = msgspec.structs.replace(message, prev_term=found)
        on_append(state, sender, message)

    patch.setitem(raft_group._MESSAGES, Append, trusting)


def accept_torn_writes(patch: pytest.MonkeyPatch) -> None:
    for name in ("checksum", "_value"):
        if hasattr(segment, name):
            patch.setattr(segment, name, lambda *_: 0)
    patch.setattr(segment, "_extend", lambda *_: 0)


def take_rotten_batches_for_torn(patch: pytest.MonkeyPatch) -> None:
    def is_followed(self: BlockReader, file: Any, number: int, offset: int, raw: bytes, header: Any) -> bool:
        return self._is_followed(file, number, offset + len(raw), header)

    patch.setattr(BlockReader, "_was_whole", is_followed)
    patch.setattr(BlockReader, "is_rotten", lambda self, number, offset, sequence: False)


def take_torn_batches_for_rotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BlockReader, "_was_whole", lambda *_: True)


def commit_by_a_minority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leading, "_advance_commit", lambda state, candidate: _commit_all(state))


def _commit_all(state: Any) -> None:
    if state.log.term_at(state.log.last_index) == state.term:
        state.log.commit = state.log.last_index


def keep_promises_of_replaced_entries(patch: pytest.MonkeyPatch) -> None:
    keep = Promises.keep

    def gullible(self: Promises, index: Any, term: Term) -> tuple[int, bool] | None:
        kept = keep(self, index, term)
        return None if kept is None else (kept[0], True)

    patch.setattr(Promises, "keep", gullible)
    patch.setattr(Promises, "break_all", lambda self: iter(()))


def forget_live_entries(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(QueueMachine, "live_entries", lambda self: iter(()))


SAFETY = {
    "committed entries are never lost or changed",
    "leader completeness",
    "one leader per term",
    "log matching",
    "machines are identical at equal index",
    "every acknowledged message is received or still present",
    "an acknowledgement tells what was applied",
}

FALSE_ALARM = "nothing is damage on a disk that does not rot"

NONSENSE = {"no node crashes (DecodeError)", "no node crashes (ValidationError)"}
"""What is read is not what anybody wrote."""

BUGS = [
    (acknowledge_before_the_sync, CRASHES, SAFETY),
    (forget_votes, CRASHES, SAFETY),
    (answer_reads_without_asking_anyone, PARTITIONS, {"strong reads are linearizable"}),
    (ignore_visibility, CALM, {"no message has two holders", "the holder's handle is valid"}),
    (forget_requests, CALM, {"a request is applied at most once"}),
    (forget_requests_in_snapshots, CRASHES, SAFETY | {"a request is applied at most once"}),
    (skip_the_check_of_the_previous_entry, TURMOIL, SAFETY),
    (accept_torn_writes, CRASHES, SAFETY | NONSENSE),
    (take_rotten_batches_for_torn, ROT, SAFETY),
    (take_torn_batches_for_rotten, CRASHES, {FALSE_ALARM}),
    (commit_by_a_minority, PARTITIONS, SAFETY),
    (keep_promises_of_replaced_entries, PARTITIONS, SAFETY),
    (forget_live_entries, CALM, {"every acknowledged message is received or still present"}),
]


@pytest.mark.parametrize(("bug", "rates", "checkers"), BUGS, ids=[bug.__name__ for bug, _, _ in BUGS])
def test_a_planted_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None],
    rates: Rates,
    checkers: set[str],
    monkeypatch: pytest.MonkeyPatch,
):
    bug(monkeypatch)
    assert findings(rates, checkers) & checkers


@pytest.mark.parametrize("rates", [CRASHES, ROT, PARTITIONS, CALM], ids=["crashes", "rot", "partitions", "calm"])
def test_without_a_bug_the_same_faults_break_nothing(rates: Rates):
    for seed in range(5):
        outcome = run_seed(seed, DURATION, adjust=under(rates))
        assert not outcome.checker, f"seed {seed}: {outcome.checker}\n{outcome.story}"
