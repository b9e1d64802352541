"""A producer's messages between ``send`` and the broker's acknowledgement.

The rules, for the streams of one session:

- frames are numbered from 1 without a gap, and a frame keeps its number and its content for ever;
- at most ``window`` frames are unacknowledged on a stream;
- when a stream is lost, every unacknowledged frame is sent again on the next one, in order, before any new frame.
  The broker stores a number once, so nothing is lost and nothing doubled;
- a frame that is not full waits while ``eager_frames`` others are on their way: what is sent meanwhile joins it. One
  message alone goes at once;
- for a FIFO queue the broker grants a window of one frame, so each is stored before the next one is sent. A frame whose
  time is over then stays first in line until the broker has answered it, though nobody waits for it any more: what was
  sent later must not be stored before it.

Pure: ``now`` is handed in, in seconds. Knows nothing of streams, futures or retry schedules.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import msgspec

from broker.base.errors import BrokerError
from broker.client.coalescing import Coalescer, FrameLimits
from broker.client.model import SentMessage
from broker.client.outgoing import Entry


class Ticket(Protocol):
    """Whoever waits for one or more messages; told exactly once of each ``position``."""

    def accepted(self, position: int, sent: SentMessage) -> None: ...

    def refused(self, position: int, error: BrokerError) -> None: ...


class Waiting(msgspec.Struct, frozen=True, gc=False):
    entry: Entry
    ticket: Ticket
    position: int
    deadline: float


class Frame(msgspec.Struct):
    """``sent_at``: when it was last handed to a stream; None while it waits to be sent again. ``abandoned``: nobody
    waits for it any more. ``owed``: the last attempt has no answer yet; ``unsure``: one before it never got one;
    ``refusal``: what the last one was refused with, for now."""

    number: int
    messages: list[Waiting]
    sent_at: float | None = None
    abandoned: bool = False
    owed: bool = False
    unsure: bool = False
    refusal: BrokerError | None = None

    @property
    def deadline(self) -> float:
        """Of its oldest message."""
        return self.messages[0].deadline


class Late(msgspec.Struct, frozen=True):
    """Messages whose time is over. ``perhaps``: they may be stored, or yet be; otherwise they are not and will not be.
    ``refusal``: what the broker said last, if they ever reached it."""

    messages: list[Waiting]
    perhaps: bool
    refusal: BrokerError | None = None


class Outbox:
    def __init__(self, limits: FrameLimits, eager_frames: int, ordered: bool = False) -> None:
        """``ordered``: of a FIFO queue."""
        self._coalescer: Coalescer[Waiting] = Coalescer(limits)
        self._eager_frames = eager_frames
        self._ordered = ordered
        self._window = 0
        self._next_number = 1
        self._unacknowledged: dict[int, Frame] = {}
        """Ascending: numbers grow, and a dict keeps the order of insertion."""
        self._again: deque[Frame] = deque()
        self._on_their_way = 0
        self._abandoned = 0

    @property
    def waiting(self) -> int:
        """Messages that are in no frame yet."""
        return len(self._coalescer)

    @property
    def waiting_bytes(self) -> int:
        return self._coalescer.waiting_bytes

    @property
    def is_empty(self) -> bool:
        """Nobody waits for anything."""
        return len(self._unacknowledged) == self._abandoned and not self._coalescer

    @property
    def unacknowledged(self) -> list[Frame]:
        return list(self._unacknowledged.values())

    def add(self, waiting: Waiting) -> None:
        self._coalescer.add(waiting, waiting.entry.size)

    def opened(self, window: int) -> None:
        """A stream of the session stands: everything unacknowledged is to be sent on it, the oldest first."""
        self._window = window
        self._on_their_way = 0
        self._again = deque(self._unacknowledged.values())
        for frame in self._again:
            frame.sent_at = None
            _ends_unanswered(frame)

    def lost(self) -> None:
        """The stream is gone; nothing can be sent until the next one is opened."""
        self._window = 0

    def next_frame(self, now: float) -> Frame | None:
        """What to write next, or None while there is nothing or the window is full."""
        if self._on_their_way >= self._window:
            return None
        if self._again:
            frame = self._again.popleft()
        else:
            if not self._coalescer:
                return None
            if self._on_their_way >= self._eager_frames and not self._coalescer.fills_a_frame():
                return None
            frame = Frame(self._next_number, self._coalescer.take())
            self._next_number += 1
            self._unacknowledged[frame.number] = frame
        frame.sent_at = now
        frame.owed = True
        self._on_their_way += 1
        return frame

    def acknowledged(self, number: int) -> Frame | None:
        """The frame has its final answer. None when nobody waits for it: a repeated answer is no news."""
        frame = self._unacknowledged.get(number)
        if frame is None:
            return None
        self._remove(frame)
        return None if frame.abandoned else frame

    def refused(self, number: int, refusal: BrokerError) -> None:
        """The broker has not taken the frame, and nothing came of it."""
        frame = self._unacknowledged.get(number)
        if frame is not None:
            frame.owed = False
            frame.refusal = refusal

    def send_again(self, number: int) -> None:
        """The broker could not take the frame now, and said so: it goes again, under its number."""
        frame = self._unacknowledged.get(number)
        if frame is not None and frame.sent_at is not None:
            self._leaves(frame)
            frame.sent_at = None
            _ends_unanswered(frame)
            self._again.append(frame)

    def oldest_sent_at(self) -> float | None:
        """Since when the stream owes the answer it has owed longest."""
        return min(
            (frame.sent_at for frame in self._unacknowledged.values() if frame.sent_at is not None), default=None
        )

    def expired(self, now: float) -> list[Late]:
        """Those whose deadline is over, once."""
        late: list[Late] = []
        for frame in [frame for frame in self._unacknowledged.values() if frame.deadline <= now]:
            messages = self._give_up(frame)
            if messages:
                late.append(Late(messages, frame.abandoned or frame.owed or frame.unsure, frame.refusal))
        never_sent: list[Waiting] = []
        while (first := self._coalescer.first()) is not None and first.deadline <= now:
            never_sent.append(self._coalescer.drop_first())
        return [*late, Late(never_sent, perhaps=False)] if never_sent else late

    def clear(self) -> list[Waiting]:
        """Removes everything and returns what somebody waits for."""
        left: list[Waiting] = []
        for frame in list(self._unacknowledged.values()):
            self._remove(frame)
            left += [] if frame.abandoned else frame.messages
        while self._coalescer:
            left += self._coalescer.take()
        return left

    def _give_up(self, frame: Frame) -> list[Waiting]:
        if frame.abandoned:
            return []
        if self._ordered:
            frame.abandoned = True
            self._abandoned += 1
        else:
            self._remove(frame)
        return frame.messages

    def _remove(self, frame: Frame) -> None:
        del self._unacknowledged[frame.number]
        self._abandoned -= frame.abandoned
        self._leaves(frame)

    def _leaves(self, frame: Frame) -> None:
        if frame.sent_at is not None:
            self._on_their_way -= 1
        elif frame in self._again:
            self._again.remove(frame)


def _ends_unanswered(frame: Frame) -> None:
    """The attempt, if it has no answer yet: what came of it will not be known before the frame is acknowledged."""
    frame.unsure |= frame.owed
    frame.owed = False
