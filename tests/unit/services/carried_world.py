"""A source and far sides as simple as can be, for what decides about carrying: an outbox in a dictionary, and far sides
that do what the contract of Arrive says. They complain about what must never happen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from broker.base.errors import DataCorrupt, QueueNotFound, Refusal
from broker.base.ids import GroupId
from broker.services.carrying import Address, Carry, Note, Nowhere, Packed

NOWHERE = GroupId(-1)


class Box(msgspec.Struct, frozen=True):
    """``read``: bytes to be read to learn the ``target``; 0: it is known without."""

    number: int
    name: str
    target: GroupId
    read: int = 0


class Load(msgspec.Struct, frozen=True):
    """The command of this world."""

    settled: int
    boxes: tuple[Box, ...]


class Source:
    """``home``: names of what has been returned. ``unreadable``: numbers."""

    def __init__(self) -> None:
        self.outbox: dict[int, Box] = {}
        self.home: list[str] = []
        self.unreadable: set[int] = set()
        self._next = 1

    def leave(self, name: str, target: int, read: int = 0) -> int:
        number = self._next
        self._next += 1
        self.outbox[number] = Box(number, name, GroupId(target), read)
        return number

    def note(self, note: Note[Box]) -> None:
        for number in note.accepted:
            self.outbox.pop(number, None)
        for box, _ in note.returned:
            if self.outbox.pop(box.number, None) is not None:
                self.home.append(box.name)

    # --- as cargo

    def leaving(self, after: int, limit: int) -> Sequence[Box]:
        return [box for number, box in self.outbox.items() if number > after][:limit]

    def address(self, item: Box) -> Address | Nowhere:
        if item.read:
            self._must_be_readable(item)
        if item.target == NOWHERE:
            return Nowhere(Refusal("Nowhere", f"{item.name} goes nowhere"), item.read)
        return Address(item.target, item.read)

    def pack(self, items: Sequence[Box], settled: int) -> Packed:
        self._must_be_readable(items[0])
        good = tuple(takewhile(lambda item: item.number not in self.unreadable, items))
        return Packed(Load(settled, good), len(good))

    def _must_be_readable(self, item: Box) -> None:
        if item.number in self.unreadable:
            raise DataCorrupt(f"{item.name} cannot be read")


class Far:
    """One far side: ``taken`` in, in order. Refuses boxes whose name begins with "bad"."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.highest = 0
        self.refused: dict[int, Refusal] = {}
        self._settled = 0

    def arrive(self, load: Load) -> tuple[tuple[int, Refusal], ...]:
        self._settled = max(self._settled, load.settled)
        self.refused = {number: why for number, why in self.refused.items() if number >= self._settled}
        assert [box.number for box in load.boxes] == sorted({box.number for box in load.boxes})
        answers = []
        for box in load.boxes:
            if box.number > self.highest:
                self.highest = box.number
                if box.name.startswith("bad"):
                    self.refused[box.number] = Refusal(QueueNotFound.code, f"{box.name} has no queue here")
                else:
                    assert box.name not in self.taken, f"{box.name} came twice"
                    self.taken.append(box.name)
            if box.number in self.refused:
                answers.append((box.number, self.refused[box.number]))
        return tuple(answers)


def numbers(carry: object) -> list[int]:
    assert isinstance(carry, Carry)
    assert isinstance(carry.command, Load)
    return [box.number for box in carry.command.boxes]
