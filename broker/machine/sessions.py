"""Remembered requests: what makes a retried call safe, also after a failover.

A session is a client or stream that numbers its calls. The reply to each of its last limits.SESSION_WINDOW numbers is
remembered; a number that comes again is answered from here and not carried out again. Replies are bytes: small,
invisible to the garbage collector, and opaque: nothing here knows what they say, nor whether what they speak of still
exists.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from broker.base import limits
from broker.base.errors import InvalidArgument

_PIECE_BYTES = 48 * 1024


class _Session:
    __slots__ = ("highest", "replies", "size", "used_at")

    def __init__(self, highest: int, used_at: int) -> None:
        self.highest = highest
        self.used_at = used_at
        self.replies: dict[int, bytes] = {}
        self.size = 0
        """Bytes of the replies."""

    def put(self, number: int, reply: bytes) -> int:
        """By how many bytes it has grown."""
        grown = len(reply) - len(self.replies.get(number, b""))
        self.replies[number] = reply
        self.size += grown
        return grown


class _SessionPart(msgspec.Struct, frozen=True, array_like=True):
    """Some of a session's replies, by ascending number; the next part may continue it."""

    session: bytes
    highest: int
    used_at: int
    replies: list[tuple[int, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[_SessionPart])
_Captured = list[tuple[bytes, int, int, dict[int, bytes]]]


class Sessions:
    """Least recently used first. Times are machine time, so every replica forgets the same."""

    __slots__ = ("_idle_lifetime", "_largest", "_most", "_sessions", "_size", "_window")

    def __init__(
        self,
        window: int = limits.SESSION_WINDOW,
        most: int = limits.MAX_SESSIONS,
        idle_lifetime: int = limits.SESSION_IDLE_LIFETIME,
        largest: int = limits.MAX_SESSIONS_SIZE,
    ) -> None:
        """``most`` sessions with replies of ``largest`` bytes in all; ``idle_lifetime`` in milliseconds."""
        self._window = window
        self._most = most
        self._idle_lifetime = idle_lifetime
        self._largest = largest
        self._size = 0
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def expire(self, at: int) -> None:
        """Forget the sessions that were idle for their lifetime."""
        sessions = self._sessions
        while sessions:
            session = next(iter(sessions.values()))
            if session.used_at + self._idle_lifetime > at:
                return
            self._forget_one()

    def recall(self, name: bytes, number: int) -> bytes | None:
        """The remembered reply; None: not seen, carry it out.

        Raises InvalidArgument for a number so old that its reply, if there was one, is forgotten.
        """
        session = self._sessions.get(name)
        if session is None:
            return None
        if number <= session.highest - self._window:
            raise InvalidArgument(
                f"request {number} of the session is too old to be told from a new one: the session is at "
                f"{session.highest} and the last {self._window} are remembered; use a new number"
            )
        return session.replies.get(number)

    def remember(self, name: bytes, number: int, reply: bytes, at: int) -> None:
        sessions = self._sessions
        session = sessions.get(name)
        if session is None:
            session = sessions[name] = _Session(number, at)
            if len(sessions) > self._most:
                self._forget_one()
        else:
            sessions.move_to_end(name)
            session.used_at = at
            if number > session.highest:
                self._advance(session, number)
        self._size += session.put(number, reply)
        while self._size > self._largest and len(sessions) > 1:
            self._forget_one()

    def touch(self, name: bytes, at: int) -> None:
        """A retry is use, too."""
        self._sessions[name].used_at = at
        self._sessions.move_to_end(name)

    def after(self, name: bytes, number: int) -> list[tuple[int, bytes]]:
        """The remembered replies with a number above ``number``, ascending."""
        session = self._sessions.get(name)
        if session is None:
            return []
        return sorted((each, reply) for each, reply in session.replies.items() if each > number)

    def capture(self) -> _Captured:
        return [
            (name, session.highest, session.used_at, session.replies.copy()) for name, session in self._sessions.items()
        ]

    def load(self, pieces: Iterable[bytes]) -> None:
        """Raises ValueError when damaged."""
        self._sessions.clear()
        self._size = 0
        for piece in pieces:
            try:
                parts = _decoder.decode(piece)
            except msgspec.MsgspecError as error:
                raise ValueError(f"a piece of {len(piece)} bytes of remembered requests is damaged: {error}") from error
            for part in parts:
                session = self._sessions.get(part.session)
                if session is None:
                    session = self._sessions[part.session] = _Session(part.highest, part.used_at)
                self._size += sum(session.put(number, reply) for number, reply in part.replies)

    def _forget_one(self) -> None:
        """The least recently used."""
        _, session = self._sessions.popitem(last=False)
        self._size -= session.size

    def _advance(self, session: _Session, number: int) -> None:
        """A session whose numbers go to several groups skips some in each; looking at all replies costs more than at
        the numbers that fall out."""
        oldest, further = number - self._window, number - session.highest
        before = session.size
        if further == 1:
            session.size -= len(session.replies.pop(oldest, b""))
        elif further <= len(session.replies):
            for fallen in range(oldest - further + 1, oldest + 1):
                session.size -= len(session.replies.pop(fallen, b""))
        else:
            session.replies = {each: reply for each, reply in session.replies.items() if each > oldest}
            session.size = sum(map(len, session.replies.values()))
        self._size -= before - session.size
        session.highest = number


def encode(captured: _Captured) -> Iterator[bytes]:
    """Pieces of about 48 KiB: one large reply makes one larger piece."""
    parts: list[_SessionPart] = []
    size = 0
    for name, highest, used_at, replies in captured:
        gathered: list[tuple[int, bytes]] = []
        for number, reply in sorted(replies.items()):
            if size >= _PIECE_BYTES:
                parts.append(_SessionPart(name, highest, used_at, gathered))
                yield _encode(parts)
                parts, gathered, size = [], [], 0
            gathered.append((number, reply))
            size += len(reply) + 16
        parts.append(_SessionPart(name, highest, used_at, gathered))
        size += len(name) + 32
    if parts:
        yield _encode(parts)
