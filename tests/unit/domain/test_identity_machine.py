"""The rules of access keys: what makes one, what is told of it, and that its secret is in no reply and no list."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.domain.identity import commands
from broker.domain.identity.commands import AccessKey, FindAccessKey, KeyDescription, ListAccessKeys
from broker.domain.identity.machine import IdentityMachine
from broker.machine.contract import Place

SECRET = "abcdefghijABCDEFGHIJ0123456789+/+/+/+/+/"
ACCOUNT = "123456789012"


def key_id(number: int) -> str:
    return "AKIA" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[number] * 16


class KeyLog:
    def __init__(self, most: int = 100) -> None:
        self.machine = IdentityMachine(most)
        self.at = 1000

    def apply(self, command: Any) -> Any:
        applied = self.machine.apply(msgspec.msgpack.encode(command), Place(Index(1), WallMillis(self.at)))
        assert applied.effects == ()
        return applied.reply

    def ask(self, question: Any) -> Any:
        return self.machine.query(question, WallMillis(self.at))

    def create(self, number: int, account: str = ACCOUNT, user: str = "") -> Any:
        return self.apply(commands.CreateAccessKey(key_id(number), SECRET, account, user))

    def listed(self, **question: Any) -> tuple[list[str], bool]:
        page = self.ask(ListAccessKeys(**question))
        return [key.id for key in page.keys], page.more


def test_a_key_is_found_with_its_secret_and_told_without() -> None:
    log = KeyLog()
    described = KeyDescription(key_id(1), ACCOUNT, "alice", WallMillis(1000), True)
    assert log.create(1, user="alice") == commands.Done(described)
    assert log.ask(FindAccessKey(key_id(1))) == AccessKey(key_id(1), SECRET, ACCOUNT, "alice", WallMillis(1000), True)
    assert log.ask(FindAccessKey(key_id(2))) is None
    assert log.ask(ListAccessKeys()).keys == (described,)


def test_a_secret_is_not_printed() -> None:
    assert SECRET not in repr(AccessKey(key_id(1), SECRET, ACCOUNT))
    assert SECRET not in repr(commands.CreateAccessKey(key_id(1), SECRET, ACCOUNT))


def test_a_key_is_disabled_enabled_and_deleted() -> None:
    log = KeyLog()
    log.create(1)
    for active in (False, False, True, True):
        reply = log.apply(commands.SetAccessKeyActive(key_id(1), active))
        assert reply.key.active is active
        assert log.ask(FindAccessKey(key_id(1))).active is active
    assert log.apply(commands.DeleteAccessKey(key_id(1))).key.id == key_id(1)
    assert log.ask(FindAccessKey(key_id(1))) is None
    assert log.listed() == ([], False)


@pytest.mark.parametrize(
    "command", [commands.SetAccessKeyActive(key_id(1), False), commands.DeleteAccessKey(key_id(1))]
)
def test_what_is_not_there_is_said_so(command: Any) -> None:
    reply = KeyLog().apply(command)
    assert reply.refusal.code == "AccessKeyNotFound"
    assert reply.refusal.message == f"there is no access key {key_id(1)}: it was deleted, or never made"


def test_an_id_is_used_once() -> None:
    log = KeyLog()
    log.create(1)
    assert log.create(1, user="bob").refusal.code == "Conflict"
    assert log.ask(FindAccessKey(key_id(1))).user == ""


def test_there_are_so_many_keys_and_no_more() -> None:
    log = KeyLog(most=2)
    log.create(1)
    log.create(2)
    refused = log.create(3).refusal
    assert (refused.code, refused.message) == (
        "LimitReached",
        "there are 2 access keys, and no room for more: delete some first",
    )
    log.apply(commands.DeleteAccessKey(key_id(1)))
    assert log.create(3) == commands.Done(KeyDescription(key_id(3), ACCOUNT, "", WallMillis(1000), True))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": "AKIA"}, "must be AKIA and 16 characters of A-Z and 2-7"),
        ({"id": "AKIA" + "1" * 16}, "must be AKIA and 16 characters of A-Z and 2-7"),
        ({"id": key_id(1) + "\n"}, "must be AKIA and 16 characters of A-Z and 2-7"),
        ({"secret": SECRET[:-1]}, "the secret must be 40 characters"),
        ({"secret": SECRET[:-1] + "-"}, "the secret must be 40 characters"),
        ({"account": "12345678901"}, "account '12345678901' must be 12 digits"),
        ({"account": "12345678901٣"}, "must be 12 digits"),
        ({"user": "a b"}, "user 'a b' must be at most 64 letters, digits and characters of _+=,.@-"),
        ({"user": "a" * 65}, "must be at most 64 letters"),
        ({"user": "a\n"}, "must be at most 64 letters"),
    ],
)
def test_what_is_no_key_is_refused_and_changes_nothing(changes: dict[str, str], told: str) -> None:
    log = KeyLog()
    command = msgspec.structs.replace(commands.CreateAccessKey(key_id(1), SECRET, ACCOUNT), **changes)
    refused = log.apply(command).refusal
    assert refused.code == "InvalidArgument"
    assert told in refused.message
    assert SECRET not in refused.message
    assert log.listed() == ([], False)


def test_the_longest_name_is_taken() -> None:
    assert KeyLog().create(1, user="a" * 64).key.user == "a" * 64


def test_keys_are_listed_in_pages_by_id() -> None:
    log = KeyLog()
    for number, account in ((3, ACCOUNT), (1, "999999999999"), (2, ACCOUNT), (0, ACCOUNT)):
        log.create(number, account)
    assert log.listed(limit=2) == ([key_id(0), key_id(1)], True)
    assert log.listed(limit=2, after=key_id(1)) == ([key_id(2), key_id(3)], False)
    assert log.listed(account=ACCOUNT, limit=2) == ([key_id(0), key_id(2)], True)
    assert log.listed(account=ACCOUNT, limit=2, after=key_id(2)) == ([key_id(3)], False)
    assert log.listed(account="999999999999", limit=1) == ([key_id(1)], False)
    assert log.listed(limit=0) == ([key_id(0)], True)


def test_a_dump_is_loaded_in_pieces() -> None:
    log = KeyLog(most=1_000)
    for number in range(700):
        identity = "AKIA" + f"{number:016o}".replace("0", "A").replace("1", "B")
        log.apply(commands.CreateAccessKey(identity, SECRET, ACCOUNT))
    pieces = list(log.machine.dump())
    assert len(pieces) == 4
    assert max(map(len, pieces)) < 64 * 1024
    copy = IdentityMachine()
    copy.load(pieces)
    assert list(copy.dump()) == pieces


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda pieces: [b"\xc1", *pieces[1:]], "damaged"),
        (lambda pieces: [*pieces[:-1], b"\xc1"], "damaged"),
        (lambda pieces: pieces[:-1], "should hold 1 access keys, not 0"),
        (lambda pieces: [*pieces, pieces[-1]], "should hold 1 access keys, not 2"),
        (lambda pieces: [msgspec.msgpack.encode((2, 1)), *pieces[1:]], "has version 2"),
    ],
)
def test_a_damaged_or_newer_dump_is_refused(damage: Any, told: str) -> None:
    log = KeyLog()
    log.create(1)
    with pytest.raises(ValueError, match=told):
        IdentityMachine().load(damage(list(log.machine.dump())))


def test_a_group_that_had_no_keys_yet_has_none() -> None:
    log = KeyLog()
    log.create(1)
    log.machine.load(())
    assert log.listed() == ([], False)


def test_a_command_that_is_not_known_stops_the_replica() -> None:
    with pytest.raises(msgspec.ValidationError):
        KeyLog().machine.apply(msgspec.msgpack.encode((99, "x")), Place(Index(1), WallMillis(1)))
    with pytest.raises(msgspec.ValidationError):
        KeyLog().machine.waits(msgspec.msgpack.encode((99, "x")))


def test_keys_do_not_wait_for_a_backup() -> None:
    assert not KeyLog().machine.waits(msgspec.msgpack.encode(commands.DeleteAccessKey(key_id(1))))
