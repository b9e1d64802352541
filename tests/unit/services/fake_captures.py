"""What a node of a fake cluster captures for a backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from broker.base.ids import GroupId, Index, NodeId, Term
from broker.base.instants import Millis
from broker.machine.replicated import ReplicatedMachine
from broker.raft.types import Entry, EntryKind, Membership, SnapshotMark
from broker.replication.captures import Capture
from broker.replication.transfer import outgoing

Entries = Mapping[tuple[GroupId, int], bytes]


class _Log:
    """What of a store the reading of captures needs."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def read_kept(self, group: GroupId, first: Index, last: Index, _: int) -> tuple[list[Entry], Index]:
        found = [
            Entry(Index(index), Term(1), EntryKind.NORMAL, self._entries[group, index])
            for index in range(first, last + 1)
            if (group, index) in self._entries
        ]
        return found, Index(last + 1)


def capture(
    group: GroupId, machine: ReplicatedMachine, entries: Entries, nodes: Iterable[NodeId], now: Millis
) -> Capture:
    """The state as it is now, to be read."""
    mark = SnapshotMark(machine.applied_index, Term(1), Membership(tuple(nodes)))
    live = list(machine.live_entries())
    make_pieces = partial(outgoing, _Log(entries), group, machine.dump(), whole=True)  # type: ignore[arg-type]
    captured = Capture(mark, iter(live), make_pieces, now)
    captured.begin(live)
    return captured
