"""The room "identity" of group 0: access keys, by which the front doors tell who calls.

Implements broker.machine.contract.Machine. Few and small things that change seldom. It knows no signature: whoever
verifies one asks for the secret.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from broker.base.errors import AccessKeyNotFound, BrokerError, Conflict, InvalidArgument, LimitReached, Refusal
from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.base.limits import ACCESS_KEY_USER_MAX_LENGTH, LIST_PAGE, MAX_ACCESS_KEYS
from broker.domain.identity import commands
from broker.domain.identity.commands import AccessKey, KeyDescription, KeyPage
from broker.machine.contract import Applied, Effect, Place

ROOM = "identity"
VERSION = 1
_KEYS_A_PIECE = 300

_ID = re.compile(r"AKIA[A-Z2-7]{16}")
_SECRET = re.compile(r"[A-Za-z0-9+/]{40}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_USER = re.compile(r"[A-Za-z0-9_+=,.@-]*")


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The first piece of a dump; the others are lists of keys, ``keys`` in all."""

    version: int
    keys: int


_encode = msgspec.msgpack.Encoder().encode
_commands = msgspec.msgpack.Decoder(commands.Command)
_replies = msgspec.msgpack.Decoder(commands.Reply)
_heads = msgspec.msgpack.Decoder(_Head)
_lists = msgspec.msgpack.Decoder(list[AccessKey])


class IdentityMachine:
    """``most``: keys at once."""

    def __init__(self, most: int = MAX_ACCESS_KEYS) -> None:
        self._most = most
        self._keys: dict[str, AccessKey] = {}
        self._ids: list[str] = []
        """Ascending."""
        self._carry_out: dict[type, Callable[[Any, WallMillis], AccessKey]] = {
            commands.CreateAccessKey: self._create,
            commands.SetAccessKeyActive: self._set_active,
            commands.DeleteAccessKey: self._delete,
        }
        self._answer: dict[type, Callable[[Any], Any]] = {
            commands.FindAccessKey: lambda question: self._keys.get(question.id),
            commands.ListAccessKeys: self._page,
        }

    def apply(self, command: bytes | memoryview, place: Place) -> Applied:
        """Replies Refused for what cannot be done. Raises msgspec.ValidationError for a command it does not know."""
        decoded = _commands.decode(command)
        try:
            reply: commands.Reply = commands.Done(_described(self._carry_out[type(decoded)](decoded, place.at)))
        except BrokerError as error:
            reply = commands.Refused(Refusal.of(error))
        return Applied(reply)

    def waits(self, command: bytes | memoryview) -> bool:
        _commands.decode(command)
        return False

    def advance(self, at: WallMillis) -> tuple[Effect, ...]:  # noqa: ARG002 - nothing here changes by time alone
        return ()

    def query(self, question: Any, at: WallMillis) -> Any:  # noqa: ARG002
        return self._answer[type(question)](question)

    def next_deadline(self) -> WallMillis | None:
        return None

    def dump(self) -> Iterator[bytes]:
        return _pieces([self._keys[identity] for identity in self._ids])

    def load(self, pieces: Iterable[bytes]) -> None:
        """No pieces: of a group that did not have this room yet, so there are no keys."""
        source = iter(pieces)
        first = next(source, None)
        keys: list[AccessKey] = []
        if first is not None:
            try:
                head = _heads.decode(first)
                if head.version > VERSION:
                    raise ValueError(f"the dump of access keys has version {head.version}, this node reads {VERSION}")
                for piece in source:
                    keys += _lists.decode(piece)
            except msgspec.MsgspecError as error:
                raise ValueError(f"the dump of access keys is damaged: {error}") from error
            if len(keys) != head.keys:
                raise ValueError(f"the dump should hold {head.keys} access keys, not {len(keys)}")
        self._keys = {key.id: key for key in keys}
        self._ids = sorted(self._keys)

    def live_entries(self) -> Iterator[tuple[Index, Index]]:
        return iter(())

    def decode_reply(self, data: bytes | memoryview) -> Any:
        return _replies.decode(data)

    # --- inside

    def _create(self, command: commands.CreateAccessKey, at: WallMillis) -> AccessKey:
        _check(command)
        if command.id in self._keys:
            raise Conflict(f"there is an access key {command.id} already: make one with another id")
        if len(self._keys) >= self._most:
            raise LimitReached(f"there are {self._most} access keys, and no room for more: delete some first")
        key = AccessKey(command.id, command.secret, command.account, command.user, at)
        self._keys[key.id] = key
        insort(self._ids, key.id)
        return key

    def _set_active(self, command: commands.SetAccessKeyActive, _: WallMillis) -> AccessKey:
        key = msgspec.structs.replace(self._known(command.id), active=command.active)
        self._keys[key.id] = key
        return key

    def _delete(self, command: commands.DeleteAccessKey, _: WallMillis) -> AccessKey:
        key = self._known(command.id)
        del self._keys[key.id]
        del self._ids[bisect_left(self._ids, key.id)]
        return key

    def _known(self, identity: str) -> AccessKey:
        key = self._keys.get(identity)
        if key is None:
            raise AccessKeyNotFound(f"there is no access key {identity[:128]}: it was deleted, or never made")
        return key

    def _page(self, question: commands.ListAccessKeys) -> KeyPage:
        limit = min(max(1, question.limit), LIST_PAGE)
        found: list[KeyDescription] = []
        for identity in self._ids[bisect_right(self._ids, question.after) :]:
            key = self._keys[identity]
            if question.account in ("", key.account):
                if len(found) == limit:
                    return KeyPage(tuple(found), True)
                found.append(_described(key))
        return KeyPage(tuple(found), False)


def check_owner(account: str, user: str) -> None:
    """Raises InvalidArgument."""
    if not _ACCOUNT.fullmatch(account):
        raise InvalidArgument(f"account {account[:40]!r} must be 12 digits")
    if len(user) > ACCESS_KEY_USER_MAX_LENGTH or not _USER.fullmatch(user):
        raise InvalidArgument(
            f"user {user[:80]!r} must be at most {ACCESS_KEY_USER_MAX_LENGTH} letters, digits and characters of _+=,.@-"
        )


def _check(command: commands.CreateAccessKey) -> None:
    """Raises InvalidArgument."""
    check_owner(command.account, command.user)
    if not _ID.fullmatch(command.id):
        raise InvalidArgument(f"access key id {command.id[:40]!r} must be AKIA and 16 characters of A-Z and 2-7")
    if not _SECRET.fullmatch(command.secret):
        raise InvalidArgument("the secret must be 40 characters of A-Z, a-z, 0-9, + and /")


def _described(key: AccessKey) -> KeyDescription:
    return KeyDescription(key.id, key.account, key.user, key.created, key.active)


def _pieces(keys: list[AccessKey]) -> Iterator[bytes]:
    yield _encode(_Head(VERSION, len(keys)))
    for start in range(0, len(keys), _KEYS_A_PIECE):
        yield _encode(keys[start : start + _KEYS_A_PIECE])
