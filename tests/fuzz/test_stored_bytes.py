"""What is read back from logs and snapshots: damaged bytes raise the one error that says so, whatever the damage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.identity.machine import IdentityMachine
from broker.domain.queues.machine import QueueMachine
from broker.machine import envelope
from broker.machine.contract import Machine
from broker.machine.envelope import Envelope, RequestId
from broker.machine.replicated import ReplicatedMachine
from tests.fuzz.examples import many
from tests.fuzz.peer_strategies import other_payloads
from tests.fuzz.wires import damaged

ROOMS: dict[str, type[Machine]] = {"queues": QueueMachine, "directory": DirectoryMachine, "identity": IdentityMachine}
requests = st.none() | st.builds(RequestId, st.binary(max_size=17), st.integers(0, 2**63 - 1))
envelopes = st.builds(
    Envelope, st.integers(0, 2**42), st.sampled_from(["queues", "", "none"]), requests, other_payloads.map(msgspec.Raw)
)


@many
@given(envelopes, st.integers(0, 300), st.integers(0, 255), st.integers(0, 60))
def test_a_damaged_entry_is_applied_as_nothing_but_an_error(
    opened: Envelope, position: int, flip: int, keep: int
) -> None:
    data = damaged(_encoded(opened), position, flip, keep)
    machine = ReplicatedMachine({"queues": QueueMachine()})
    said = _refusal(msgspec.MsgspecError, lambda: machine.apply(data, Index(1)))
    assert said != ""


@pytest.mark.parametrize("room", ROOMS)
@many
@given(command=other_payloads)
def test_a_command_that_is_none_is_an_error(room: str, command: bytes) -> None:
    data = _encoded(Envelope(WallMillis(1), room, None, msgspec.Raw(command)))
    machine = ReplicatedMachine({room: ROOMS[room]()})
    said = _refusal(msgspec.MsgspecError, lambda: machine.apply(data, Index(1)))
    assert said != ""


@many
@given(st.lists(other_payloads, max_size=4), st.integers(0, 200), st.integers(0, 255), st.integers(0, 100))
def test_a_damaged_dump_is_refused(pieces: list[bytes], position: int, flip: int, keep: int) -> None:
    good = list(ReplicatedMachine({"queues": QueueMachine()}).dump())
    spoilt = [damaged(good[0], position, flip, keep), *good[1:]]
    for dump in (pieces, spoilt, [good[0], *pieces, *good[1:]]):
        machine = ReplicatedMachine({"queues": QueueMachine()})
        said = _refusal(ValueError, partial(machine.load, dump))
        assert said != ""


def _refusal(kind: type[Exception], act: Callable[[], object]) -> str | None:
    """What the one error that is allowed says; None when there was none. Any other fails the test."""
    try:
        act()
    except kind as error:
        return str(error)
    return None


def _encoded(opened: Envelope) -> bytes:
    """As it would have been: a command of no bytes at all leaves a gap that no node leaves."""
    return envelope.encode(
        opened if bytes(opened.command) else msgspec.structs.replace(opened, command=msgspec.Raw(b"\xc0"))
    )
