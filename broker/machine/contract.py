"""What "a replicated state machine" means here.

A machine is a pure function of the commands applied to it: no clock, no chance, no I/O, no dependence on hash order.
Equal logs give byte-equal dumps on every replica. Time reaches it as ``at`` (wall milliseconds stamped by the leader,
made monotonic before the machine sees it). Whatever is random, signed or expensive is made before the proposal and
travels inside the command.

A *room* machine (queues, directory, ...) implements Machine; ``machine.replicated`` combines the rooms of one group
and adds what all rooms share: the envelope, monotonic time, and remembered requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgspec

from broker.base.ids import Index
from broker.base.instants import WallMillis


class Wake(msgspec.Struct, frozen=True):
    """Effect: whoever waits for ``key`` in the waiting room may find something now: ``count`` things appeared, so at
    most that many waiters need to be woken."""

    key: tuple[str, int]
    count: int = 1


Effect = Wake
"""Effects are data, carried out by the leader only, may be repeated after a change of leader, and so are idempotent."""


class Applied(msgspec.Struct, gc=False):
    reply: Any
    """A msgspec.Struct of the room's reply union, or base.errors.Refusal."""
    effects: tuple[Effect, ...] = ()
    capture: bytes = b""
    """The backup for which every replica is to capture the state as it is now, if any."""


class Place(msgspec.Struct, frozen=True):
    """Where in history a command stands: ``index`` of its entry, and ``at``, the time of the machine."""

    index: Index
    at: WallMillis


class Machine(Protocol):
    """The contract of a room. ``command`` arrives encoded: the room alone knows its command union.

    A command that is refused changes nothing but time. ``apply`` never raises for bad commands: it replies Refusal. An
    exception means a bug or damaged state, and stops the replica.
    """

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        """Apply one committed command. First fires every deadline <= ``place.at``."""

    def waits(self, command: bytes | memoryview) -> bool:
        """Whether a command is one that waits while a backup holds the group: one that says to this group what was
        done in another. Raises msgspec.MsgspecError, as ``apply`` does."""

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:
        """Fire every deadline <= ``at``; called before apply of any room's command and for ticks."""

    def query(self, question: Any, at: WallMillis) -> Any:
        """Answer without changing anything. ``at`` may lie ahead of the last command."""

    def next_deadline(self) -> WallMillis | None:
        """When the machine next changes by time alone; the leader then proposes a tick. O(1)."""

    def dump(self) -> Iterator[bytes]:
        """The whole state. Captures at the call (fast: copies of references and arrays, < 10 ms for a million
        messages) and encodes while iterated, piece by piece (each < 64 KiB or so), perhaps in another thread."""

    def load(self, pieces: Iterable[bytes]) -> None:
        """Replace the state by a dump's. Pieces arrive as dump() gave them. Raises ValueError when damaged."""

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        """Inclusive, ascending, disjoint index ranges of entries whose data the state still refers to. Captured at
        the call, as dump() is."""

    def decode_reply(self, data: bytes | memoryview) -> Any:
        """A reply of this room, as msgspec encoded it: remembered replies are kept as bytes. Raises
        msgspec.MsgspecError."""
