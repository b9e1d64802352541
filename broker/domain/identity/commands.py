"""What the identity room (of group 0) can be told, asked, and what it answers: access keys, and whose they are.

A secret is in the command that makes a key and in the answer to FindAccessKey, and nowhere else: neither replies, which
are remembered, nor lists hold it.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Refusal
from broker.base.instants import WallMillis


class AccessKey(msgspec.Struct, frozen=True, array_like=True):
    """``id``: as clients send it (AKIA and 16 of A-Z2-7). ``account``: 12 digits. ``user``: a name within the account;
    "": the account's root. A key that is not ``active`` signs nothing, and can be made active again."""

    id: str
    secret: str
    account: str
    user: str = ""
    created: WallMillis = WallMillis(0)
    active: bool = True

    def __repr__(self) -> str:
        """Without the secret: what is printed may end in a log."""
        return f"AccessKey({self.id}, account={self.account}, user={self.user!r}, active={self.active})"


class KeyDescription(msgspec.Struct, frozen=True, array_like=True):
    """An access key without its secret."""

    id: str
    account: str
    user: str
    created: WallMillis
    active: bool


# --- commands


class CreateAccessKey(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """``id`` and ``secret`` were made by chance before. Refuses Conflict for an id that there is already,
    InvalidArgument for a form that is none, and LimitReached for more than MAX_ACCESS_KEYS."""

    id: str
    secret: str
    account: str
    user: str = ""

    def __repr__(self) -> str:
        return f"CreateAccessKey({self.id}, account={self.account}, user={self.user!r})"


class SetAccessKeyActive(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Refuses AccessKeyNotFound."""

    id: str
    active: bool


class DeleteAccessKey(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Refuses AccessKeyNotFound."""

    id: str


Command = CreateAccessKey | SetAccessKeyActive | DeleteAccessKey


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """``key``: as it is now, or as it was before it was deleted."""

    key: KeyDescription


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    refusal: Refusal


Reply = Done | Refused

# --- questions


class FindAccessKey(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Answer: AccessKey | None, active or not."""

    id: str


class ListAccessKeys(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """By id, ascending, those after ``after``; of one account if one is named. Answer: KeyPage."""

    account: str = ""
    after: str = ""
    limit: int = 1000


Question = FindAccessKey | ListAccessKeys


class KeyPage(msgspec.Struct, frozen=True, array_like=True):
    keys: tuple[KeyDescription, ...]
    more: bool
