"""Holding a group still between groups, for a backup: what crosses from one group to another waits, all else goes on.

A backup first holds every group, then captures every one, then releases them. Hold, capture and release are entries of
the group's log, so whether a capture was made under an unbroken hold follows from the log alone, whoever leads and
whatever the clocks say. A hold lapses by itself, so that a backup that died holds nobody. Which commands wait, each
room knows; why this gives one state of the whole cluster is told in docs/decisions/0015.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import BackupExpired, BackupInProgress, Refusal, Unavailable
from broker.base.ids import Index
from broker.base.instants import SECOND, Millis, WallMillis

ROOM = "hold"
"""In envelopes, and in questions, whose answer is the Hold in force, or None."""
LEASE = Millis(10 * SECOND)


class HoldFor(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Begin to hold for ``backup``, or go on for another LEASE. Replies Held; refuses BackupInProgress."""

    backup: bytes


class CaptureFor(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Capture the state on every replica, if the hold that began with entry ``since`` is still in force. Replies
    Captured, with the first capture's index if it comes again; refuses BackupExpired."""

    backup: bytes
    since: Index


class Release(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Hold no more. Replies None, also when nothing is held for ``backup``."""

    backup: bytes


Command = HoldFor | CaptureFor | Release


class Held(msgspec.Struct, frozen=True, array_like=True):
    """``since``: the entry with which the hold began."""

    since: Index


class Captured(msgspec.Struct, frozen=True, array_like=True):
    """The state after entry ``index`` is captured."""

    index: Index


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """``captured`` 0: not yet."""

    backup: bytes
    since: Index
    until: WallMillis
    captured: Index = Index(0)


_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def decode(data: bytes | memoryview) -> Command:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(data)


def in_force(hold: Hold | None, at: WallMillis) -> Hold | None:
    return None if hold is None or hold.until < at else hold


def carried_out(
    hold: Hold | None, command: Command, index: Index, at: WallMillis
) -> tuple[Hold | None, Held | Captured | Refusal | None]:
    """The hold afterwards, and the reply. ``hold``: the one in force."""
    if isinstance(command, HoldFor):
        if hold is not None and hold.backup != command.backup:
            return hold, Refusal(
                BackupInProgress.code,
                f"another backup is capturing this cluster, for {hold.until - at} ms more at most: retry in a moment",
            )
        until = WallMillis(at + LEASE)
        held = Hold(command.backup, index, until) if hold is None else msgspec.structs.replace(hold, until=until)
        return held, Held(held.since)
    if isinstance(command, Release):
        return (None if hold is not None and hold.backup == command.backup else hold), None
    if hold is None or (hold.backup, hold.since) != (command.backup, command.since):
        return hold, Refusal(
            BackupExpired.code, "the group was not held for long enough to be captured: begin the backup anew"
        )
    captured = hold if hold.captured else msgspec.structs.replace(hold, captured=index)
    return captured, Captured(captured.captured)


def refusal(hold: Hold, at: WallMillis) -> Refusal:
    """Of a command that waits."""
    return Refusal(
        Unavailable.code,
        f"a backup is capturing the state of the cluster, for {hold.until - at} ms more at most: nothing happened, "
        "retry in a moment",
    )
