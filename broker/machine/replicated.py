"""The state machine of one group: its rooms, one monotonic time for all of them, and remembered requests.

It opens the envelope, lets time pass in every room, answers a repeated request from memory, and hands a new one to the
room it names. What a command says is the room's affair alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec

from broker.base.errors import InvalidArgument, Refusal
from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.machine import envelope, holding, sessions
from broker.machine.contract import Applied, Effect, Machine, Place
from broker.machine.envelope import TICK_ROOM, Envelope
from broker.machine.holding import Hold
from broker.machine.sessions import Sessions

VERSION = 1
_SESSIONS = ""
"""The section of a dump that belongs to no room."""


class _Header(msgspec.Struct, frozen=True, array_like=True):
    version: int
    applied_index: Index
    now: WallMillis
    rooms: tuple[str, ...]
    hold: Hold | None = None


class _Section(msgspec.Struct, frozen=True, array_like=True):
    """One piece of a room's dump. The last section of all is empty and of no room."""

    room: str
    piece: bytes


_encode = msgspec.msgpack.Encoder().encode
_headers = msgspec.msgpack.Decoder(_Header)
_sections = msgspec.msgpack.Decoder(_Section)
_kept = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_refusals = msgspec.msgpack.Decoder(Refusal)


class ReplicatedMachine:
    """``now``: milliseconds since the Unix epoch, never going back. ``applied_index``: of the last entry applied."""

    def __init__(self, rooms: dict[str, Machine], remembered: Sessions | None = None) -> None:
        if TICK_ROOM in rooms or holding.ROOM in rooms:
            raise ValueError(
                f"a room needs a name of its own: the empty one stands for ticks, {holding.ROOM!r} for holds"
            )
        self._rooms = rooms
        self._others = {name: [each for other, each in rooms.items() if other != name] for name in (*rooms, TICK_ROOM)}
        self._sessions = Sessions() if remembered is None else remembered
        self._hold: Hold | None = None
        self.now = WallMillis(0)
        self.applied_index = Index(0)

    def apply(self, data: bytes | memoryview, index: Index) -> Applied:
        """Apply one committed entry. Entries come in the order of their indexes.

        Raises msgspec.MsgspecError when ``data`` is no envelope or the room does not know the command: damage or a bug.
        """
        try:
            return self._apply(data, index)
        # msgspec lets two errors of Python's own through: for text that is not UTF-8, and for nesting without end.
        except (UnicodeDecodeError, RecursionError) as error:
            raise msgspec.DecodeError(f"entry {index} says what no node has written: {error}") from error

    def _apply(self, data: bytes | memoryview, index: Index) -> Applied:
        opened = envelope.decode(data)
        now = self.now = max(self.now, opened.at)
        self.applied_index = index
        self._sessions.expire(now)
        if opened.room == TICK_ROOM:
            return Applied(None, self._advance(self._others[TICK_ROOM], now))
        if opened.room == holding.ROOM:
            return self._change_hold(opened, index)
        if opened.request is None:
            held_back = None if self._hold is None else self._held_back(opened, self._hold)
            return held_back or self._carry_out(opened, index)
        try:
            kept = self._sessions.recall(opened.request.session, opened.request.number)
        except InvalidArgument as error:
            return Applied(Refusal.of(error), self._advance(self._others[TICK_ROOM], now))
        if kept is not None:
            self._sessions.touch(opened.request.session, now)
            return Applied(self._reply(kept), self._advance(self._others[TICK_ROOM], now))
        held_back = None if self._hold is None else self._held_back(opened, self._hold)
        if held_back is not None:
            return held_back  # and not remembered: the same request is to succeed later
        applied = self._carry_out(opened, index)
        kept = _encode((_SESSIONS if isinstance(applied.reply, Refusal) else opened.room, applied.reply))
        self._sessions.remember(opened.request.session, opened.request.number, kept, now)
        return applied

    def query(self, room: str, question: Any, at: WallMillis) -> Any:
        """What the room answers, or a Refusal when there is no such room. ``at`` may lie ahead of the last entry."""
        if room == holding.ROOM:
            return holding.in_force(self._hold, max(self.now, at))
        found = self._rooms.get(room)
        if found is None:
            return _no_room(room)
        return found.query(question, max(self.now, at))

    def replay(self, session: bytes, after: int) -> list[tuple[int, Any]]:
        """The remembered replies of a session with a number above ``after``, ascending, so that a consumer which
        reconnects gets what it missed. What they refer to may be gone since."""
        return [(number, self._reply(kept)) for number, kept in self._sessions.after(session, after)]

    def next_deadline(self) -> WallMillis | None:
        deadlines = [deadline for room in self._rooms.values() if (deadline := room.next_deadline()) is not None]
        return min(deadlines, default=None)

    def dump(self) -> Iterator[bytes]:
        """Captures now, encodes while iterated."""
        header = _Header(VERSION, self.applied_index, self.now, tuple(self._rooms), self._hold)
        remembered = self._sessions.capture()
        rooms = [(name, room.dump()) for name, room in self._rooms.items()]
        return _encode_all(header, remembered, rooms)

    def load(self, pieces: Iterable[bytes]) -> None:
        """Replace the state by a dump's. Raises ValueError when it is damaged, truncated, newer, or of other rooms. A
        room that the group did not have yet when it was dumped is loaded from nothing, or refuses to be."""
        source = iter(pieces)
        header = _decode_header(next(source, None))
        if not set(header.rooms) <= set(self._rooms):
            raise ValueError(f"the dump has rooms {sorted(header.rooms)}, this group has {sorted(self._rooms)}")
        sections = _ended(source)
        current = next(sections, None)
        for name in (_SESSIONS, *header.rooms):
            own: list[bytes] = []
            while current is not None and current.room == name:
                own.append(current.piece)
                current = next(sections, None)
            if name == _SESSIONS:
                self._sessions.load(own)
            else:
                self._rooms[name].load(own)
        if current is not None:
            raise ValueError(f"the dump has a piece of room {current.room!r} out of order")
        for name in self._rooms:
            if name not in header.rooms:
                self._rooms[name].load(())
        self.now, self.applied_index, self._hold = header.now, header.applied_index, header.hold

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        """Inclusive, ascending, disjoint ranges over all rooms. Captures now."""
        return _merged([room.live_entries() for room in self._rooms.values()])

    # --- inside

    def _carry_out(self, opened: Envelope, index: Index) -> Applied:
        room = self._rooms.get(opened.room)
        if room is None:
            return Applied(_no_room(opened.room), self._advance(self._others[TICK_ROOM], self.now))
        elsewhere = self._advance(self._others[opened.room], self.now)
        applied = room.apply(opened.command, Place(index, self.now))
        return Applied(applied.reply, elsewhere + applied.effects) if elsewhere else applied

    def _held_back(self, opened: Envelope, hold: Hold) -> Applied | None:
        """The answer to a command that waits for the end of the hold."""
        self._hold = holding.in_force(hold, self.now)
        room = self._rooms.get(opened.room)
        if self._hold is None or room is None or not room.waits(opened.command):
            return None
        return Applied(holding.refusal(self._hold, self.now), self._advance(self._others[TICK_ROOM], self.now))

    def _change_hold(self, opened: Envelope, index: Index) -> Applied:
        command = holding.decode(opened.command)
        hold = holding.in_force(self._hold, self.now)
        self._hold, reply = holding.carried_out(hold, command, index, self.now)
        capture = self._hold is not None and self._hold.captured == index
        effects = self._advance(self._others[TICK_ROOM], self.now)
        return Applied(reply, effects, command.backup if capture else b"")

    @staticmethod
    def _advance(rooms: list[Machine], at: WallMillis) -> tuple[Effect, ...]:
        return tuple(chain.from_iterable(room.advance(at) for room in rooms)) if rooms else ()

    def _reply(self, kept: bytes) -> Any:
        room, reply = _kept.decode(kept)
        return _refusals.decode(reply) if room == _SESSIONS else self._rooms[room].decode_reply(reply)


def _no_room(room: str) -> Refusal:
    return Refusal(InvalidArgument.code, f"this group has no room {room!r}: the node asking may be of a newer version")


def _encode_all(header: _Header, remembered: Any, rooms: list[tuple[str, Iterator[bytes]]]) -> Iterator[bytes]:
    yield _encode(header)
    for piece in sessions.encode(remembered):
        yield _encode(_Section(_SESSIONS, piece))
    for name, pieces in rooms:
        for piece in pieces:
            yield _encode(_Section(name, piece))
    yield _encode(_Section(_SESSIONS, b""))


def _decode_header(piece: bytes | None) -> _Header:
    if piece is None:
        raise ValueError("the dump is empty")
    try:
        header = _headers.decode(piece)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the dump does not begin with its header: {error}") from error
    if header.version > VERSION:
        raise ValueError(f"the dump has version {header.version}, this node reads up to {VERSION}")
    return header


def _ended(pieces: Iterator[bytes]) -> Iterator[_Section]:
    """The sections before the closing one. Raises ValueError when that is missing."""
    for piece in pieces:
        try:
            section = _sections.decode(piece)
        except msgspec.MsgspecError as error:
            raise ValueError(f"a piece of {len(piece)} bytes of the dump is damaged: {error}") from error
        if section.room == _SESSIONS and not section.piece:
            return
        yield section
    raise ValueError("the dump is truncated: its last piece is missing")


def _merged(streams: list[Iterator[tuple[Index, Index]]]) -> Iterator[tuple[Index, Index]]:
    first = last = Index(0)
    for start, end in sorted(chain.from_iterable(streams)):
        if start > last + 1 or first == 0:
            if first:
                yield first, last
            first = start
        last = max(last, end)
    if first:
        yield first, last
