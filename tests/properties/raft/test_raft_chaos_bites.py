"""The checkers are worth something only if they see what is wrong: known mistakes are planted, and each is found."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from broker.base.ids import Index, NodeId
from broker.raft import appending, election, group, leading, quorum, reading
from broker.raft.messages import Append, AppendReply, VoteRequest
from broker.raft.ready import ReadGrant
from broker.raft.state import State
from broker.raft.types import Membership
from tests.properties.raft.chaos import CONFIG, NERVOUS, Chaos

_SEEDS = 400
_STEPS = 1500

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    def at_once(state: State, leader: NodeId, message: Append, matched: Index) -> None:
        state.send(leader, AppendReply(state.term, True, matched, message.round))

    patch.setattr(appending, "_acknowledge", at_once)


def vote_for_any_log(patch: pytest.MonkeyPatch) -> None:
    careful = election.on_vote_request

    def careless(state: State, sender: NodeId, message: VoteRequest) -> None:
        log = state.log
        careful(state, sender, msgspec.structs.replace(message, last_term=log.last_term, last_index=log.last_index))

    patch.setitem(_messages(), VoteRequest, careless)


def count_one_less_than_a_majority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quorum, "majority", lambda voters: max(1, voters // 2))


def ignore_the_outgoing_majority(patch: pytest.MonkeyPatch) -> None:
    reached = quorum.reached

    def half(membership: Membership, values: dict[NodeId, int]) -> int:
        return reached(msgspec.structs.replace(membership, outgoing=()), values)

    patch.setattr(quorum, "reached", half)
    verdict = quorum.verdict

    def half_verdict(membership: Membership, votes: dict[NodeId, bool]) -> quorum.Verdict:
        return verdict(msgspec.structs.replace(membership, outgoing=()), votes)

    patch.setattr(quorum, "verdict", half_verdict)


def read_without_asking(patch: pytest.MonkeyPatch) -> None:
    def at_once(state: State) -> None:
        state.out.reads.extend([ReadGrant(token, state.log.commit) for token in state.waiting_reads])
        state.waiting_reads = []

    patch.setattr(reading, "open_round", at_once)


def commit_what_one_replica_holds(patch: pytest.MonkeyPatch) -> None:
    def eager(state: State, candidate: Index) -> None:
        if state.log.term_at(candidate) == state.term:
            state.log.commit = max(state.log.commit, candidate)

    patch.setattr(leading, "_advance_commit", eager)


def _messages() -> dict[type, object]:
    return group._MESSAGES  # type: ignore[return-value]


@pytest.mark.parametrize(
    "plant",
    [
        acknowledge_before_the_sync,
        vote_for_any_log,
        count_one_less_than_a_majority,
        ignore_the_outgoing_majority,
        read_without_asking,
        commit_what_one_replica_holds,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_mistake_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(_SEEDS):
        chaos = Chaos(seed, NERVOUS if seed % 2 else CONFIG)
        try:
            for number in range(_STEPS):
                chaos.step()
                if number % 100 == 0:
                    chaos.check_logs()
        except AssertionError:
            return
    pytest.fail(f"{_SEEDS} seeds of {_STEPS} steps did not find it")
