"""What recovery gives a replica of its past."""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, Term
from broker.raft.types import HardState, Membership, SnapshotMark
from broker.storage.books import GroupBook


class Recovered(msgspec.Struct, frozen=True):
    """What a replica finds of its past. ``memberships``: those appended behind the mark, ascending."""

    hard_state: HardState
    mark: SnapshotMark | None
    first_index: Index
    last_index: Index
    term_runs: tuple[tuple[Index, Term], ...]
    """Where each run of entries of one term begins, from ``first_index`` to ``last_index``."""
    memberships: tuple[tuple[Index, Membership], ...]


def recovered_of(book: GroupBook, memberships: list[tuple[int, Membership]]) -> Recovered:
    first, last = book.index.base, book.index.last
    return Recovered(
        book.hard_state,
        book.mark,
        Index(first),
        Index(last),
        tuple((Index(start), Term(term)) for start, term in book.terms.within(first, last)),
        tuple((Index(index), membership) for index, membership in memberships),
    )
