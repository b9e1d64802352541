"""Finds what was lost, repeated or overtaken, from sequence numbers alone. Pure.

A message is *lost* when the cluster confirmed it and nobody received it. One that was received without ever having been
confirmed is no error: the confirmation was lost, not the message.
"""

from __future__ import annotations

import msgspec

_CONFIRMED = 1
_RECEIVED = 2


class Verdict(msgspec.Struct, frozen=True):
    """Counts of messages; ``duplicated`` counts deliveries beyond each message's first. ``reordered``: first deliveries
    with a later message of the same producer delivered before. ``unconfirmed``: received, never confirmed."""

    sent: int
    confirmed: int
    failed: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    unconfirmed: int
    lost_examples: tuple[tuple[int, int], ...]
    """(producer, sequence) of the first few that were lost."""


class _Ledger:
    """One producer's messages, by sequence number from 0."""

    __slots__ = ("duplicated", "failed", "highest", "reordered", "states")

    def __init__(self) -> None:
        self.states = bytearray()
        self.failed = 0
        self.duplicated = 0
        self.reordered = 0
        self.highest = -1

    def mark(self, sequence: int, flag: int) -> int:
        """Sets the flag and returns the state before."""
        if sequence >= len(self.states):
            self.states.extend(bytes(sequence + 1 - len(self.states)))
        before = self.states[sequence]
        self.states[sequence] = before | flag
        return before


class Verifier:
    """Told everything that happens, in the order in which it happens to the generator."""

    def __init__(self, producers: int) -> None:
        self._ledgers = [_Ledger() for _ in range(producers)]
        self.outstanding = 0
        """Confirmed and not yet received."""

    def sent(self, producer: int, sequence: int) -> None:
        self._ledgers[producer].mark(sequence, 0)

    def confirmed(self, producer: int, sequence: int) -> None:
        before = self._ledgers[producer].mark(sequence, _CONFIRMED)
        if before == 0:
            self.outstanding += 1

    def failed(self, producer: int) -> None:
        """The sender was told that a message failed, or that its fate is unknown."""
        self._ledgers[producer].failed += 1

    def received(self, producer: int, sequence: int) -> bool:
        """Whether this is the message's first delivery."""
        ledger = self._ledgers[producer]
        before = ledger.mark(sequence, _RECEIVED)
        if before & _RECEIVED:
            ledger.duplicated += 1
            return False
        if before & _CONFIRMED:
            self.outstanding -= 1
        if sequence < ledger.highest:
            ledger.reordered += 1
        else:
            ledger.highest = sequence
        return True

    def verdict(self, examples: int = 5) -> Verdict:
        lost = [
            (producer, sequence)
            for producer, ledger in enumerate(self._ledgers)
            for sequence, state in enumerate(ledger.states)
            if state == _CONFIRMED
        ]
        states = [state for ledger in self._ledgers for state in ledger.states]
        return Verdict(
            sent=len(states),
            confirmed=sum(1 for state in states if state & _CONFIRMED),
            failed=sum(ledger.failed for ledger in self._ledgers),
            received=sum(1 for state in states if state & _RECEIVED),
            lost=len(lost),
            duplicated=sum(ledger.duplicated for ledger in self._ledgers),
            reordered=sum(ledger.reordered for ledger in self._ledgers),
            unconfirmed=sum(1 for state in states if state == _RECEIVED),
            lost_examples=tuple(lost[:examples]),
        )
