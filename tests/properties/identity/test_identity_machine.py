"""Access keys against a plain dict: every command in any order, dumps and loads at any moment."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.base.ids import Index
from broker.base.instants import WallMillis
from broker.domain.identity import commands
from broker.domain.identity.commands import AccessKey, FindAccessKey, KeyDescription, KeyPage, ListAccessKeys
from broker.domain.identity.machine import IdentityMachine
from broker.machine.contract import Place

MOST = 4
IDS = [f"AKIA{letter * 16}" for letter in "ABCDEF27"]
ACCOUNTS = ["000000000000", "123456789012"]
ids, accounts = st.sampled_from(IDS), st.sampled_from(ACCOUNTS)


class KeysAgainstDict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.machine, self.replica = IdentityMachine(MOST), IdentityMachine(MOST)
        self.keys: dict[str, AccessKey] = {}
        self.at = 0

    @rule(identity=ids, account=accounts, user=st.sampled_from(["", "alice", "no name"]))
    def create(self, identity: str, account: str, user: str) -> None:
        secret = f"{len(self.keys)}{self.at}".ljust(40, "s")
        reply = self._apply(commands.CreateAccessKey(identity, secret, account, user))
        if user == "no name":
            assert reply.refusal.code == "InvalidArgument"
        elif identity in self.keys:
            assert reply.refusal.code == "Conflict"
        elif len(self.keys) >= MOST:
            assert reply.refusal.code == "LimitReached"
        else:
            self.keys[identity] = AccessKey(identity, secret, account, user, WallMillis(self.at), True)
            assert reply == commands.Done(self._described(identity))

    @rule(identity=ids, active=st.booleans())
    def set_active(self, identity: str, active: bool) -> None:
        reply = self._apply(commands.SetAccessKeyActive(identity, active))
        if identity not in self.keys:
            assert reply.refusal.code == "AccessKeyNotFound"
        else:
            self.keys[identity] = msgspec.structs.replace(self.keys[identity], active=active)
            assert reply == commands.Done(self._described(identity))

    @rule(identity=ids)
    def delete(self, identity: str) -> None:
        reply = self._apply(commands.DeleteAccessKey(identity))
        if identity not in self.keys:
            assert reply.refusal.code == "AccessKeyNotFound"
        else:
            assert reply == commands.Done(self._described(identity))
            del self.keys[identity]

    @rule()
    def let_time_pass(self) -> None:
        self.at += 7

    @rule()
    def restart_replica(self) -> None:
        pieces = list(self.replica.dump())
        self.replica = IdentityMachine(MOST)
        self.replica.load(pieces)

    @rule(identity=ids)
    def find(self, identity: str) -> None:
        assert self._ask(FindAccessKey(identity)) == self.keys.get(identity)

    @rule(account=st.sampled_from(["", *ACCOUNTS]), after=st.sampled_from(["", *IDS]), limit=st.integers(1, 4))
    def page(self, account: str, after: str, limit: int) -> None:
        wanted = [key.id for key in self.keys.values() if account in ("", key.account) and key.id > after]
        told = tuple(self._described(identity) for identity in sorted(wanted)[:limit])
        assert self._ask(ListAccessKeys(account, after, limit)) == KeyPage(told, len(wanted) > limit)

    @invariant()
    def replicas_are_equal(self) -> None:
        assert list(self.machine.dump()) == list(self.replica.dump())

    def _described(self, identity: str) -> KeyDescription:
        key = self.keys[identity]
        return KeyDescription(key.id, key.account, key.user, key.created, key.active)

    def _apply(self, command: Any) -> Any:
        data, place = msgspec.msgpack.encode(command), Place(Index(1), WallMillis(self.at))
        reply = self.machine.apply(data, place).reply
        assert self.replica.apply(data, place).reply == reply
        assert self.machine.decode_reply(msgspec.msgpack.encode(reply)) == reply
        return reply

    def _ask(self, question: Any) -> Any:
        return self.machine.query(question, WallMillis(self.at))


TestKeysAgainstDict = KeysAgainstDict.TestCase
