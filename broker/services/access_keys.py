"""Access keys: made, listed, disabled and deleted in the directory's group; found for whoever verifies signatures.

A key that was found is used for RENEW_AFTER without asking again, and at most for STALENESS: within that time one that
was disabled or deleted ends everywhere. Only while the directory does not answer does a known key hold on, up to HOLD.
This room must not know what a signature is.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec

from broker.base.errors import BrokerError, Conflict, Overloaded, Refusal
from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.base.instants import SECOND, Millis
from broker.domain.identity.commands import (
    AccessKey,
    Command,
    CreateAccessKey,
    DeleteAccessKey,
    Done,
    FindAccessKey,
    KeyDescription,
    KeyPage,
    ListAccessKeys,
    Reply,
    SetAccessKeyActive,
)
from broker.domain.identity.machine import check_owner
from broker.machine.envelope import RequestId
from broker.replication.groups import Groups
from broker.services.locating import Locator
from broker.services.replies import accepted, accepted_as
from broker.services.request_ids import RequestIds
from broker.services.use_cases import UseCase

ROOM = "identity"
RENEW_AFTER = Millis(2 * SECOND)
STALENESS = Millis(5 * SECOND)
HOLD = Millis(60 * SECOND)
LOOKUP_TIME = Millis(1_500)
MISS_LIFETIME = Millis(1 * SECOND)
"""How long an id that nobody has is taken to be unknown."""
MAX_KNOWN = 10_000
MAX_MISSES = 1_000
MAX_LOOKUPS = 64
"""At once: strangers who make ids up must not keep the directory busy."""
_ID_BYTES, _SECRET_BYTES = 10, 30
_ATTEMPTS = 3


class _Tell(msgspec.Struct, frozen=True, array_like=True):
    command: Command
    request: RequestId | None


class _Known:
    """``confirmed``: when the directory last said so. ``held``: it could not be asked since."""

    __slots__ = ("confirmed", "held", "key")

    def __init__(self, key: AccessKey, confirmed: Millis) -> None:
        self.key = key
        self.confirmed = confirmed
        self.held = False


_Outcome = AccessKey | BrokerError | None
"""Of a lookup; None: nobody has such a key, or it is disabled."""


class AccessKeys:
    """``random_bytes``: of a source fit for secrets."""

    def __init__(
        self, groups: Groups, locator: Locator, request_ids: RequestIds, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.clock = groups.clock
        self._groups = groups
        self._locator = locator
        self._request_ids = request_ids
        self._random_bytes = random_bytes
        self._known: dict[str, _Known] = {}
        self._misses: dict[str, Millis] = {}
        self._lookups: dict[str, asyncio.Future[_Outcome]] = {}
        self._telling = UseCase("identity.tell", _Tell, Reply, self._tell_here)
        self._finding = UseCase("identity.find", FindAccessKey, AccessKey | None, self._ask_here)
        self._listing = UseCase("identity.list", ListAccessKeys, KeyPage, self._ask_here)
        locator.serve(self._telling)
        locator.serve(self._finding)
        locator.serve(self._listing)

    # --- administration

    async def create(self, account: str, user: str, deadline: Millis) -> AccessKey:
        """A new key; nobody can ask for its secret again. ``user`` "": the account's root.

        Raises InvalidArgument, LimitReached, Unavailable.
        """
        check_owner(account, user)
        for attempt in range(1, _ATTEMPTS + 1):
            identity = "AKIA" + base64.b32encode(self._random_bytes(_ID_BYTES)).decode()
            # Letters and digits only: a secret is pasted into shells and URLs.
            secret = base64.b64encode(self._random_bytes(_SECRET_BYTES), altchars=b"Kx").decode()
            try:
                found = await self._tell(CreateAccessKey(identity, secret, account, user), deadline)
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
                continue
            return AccessKey(found.id, secret, found.account, found.user, found.created, found.active)
        raise AssertionError("the last attempt returns or raises")

    async def page(self, account: str, after: str, limit: int, deadline: Millis) -> KeyPage:
        """Those after the id ``after``, ascending; of all accounts if ``account`` is ""."""
        question = ListAccessKeys(account, after, limit)
        return await self._locator.on_leader(DIRECTORY_GROUP, self._listing, question, deadline)

    async def set_active(self, identity: str, active: bool, deadline: Millis) -> KeyDescription:
        """Raises AccessKeyNotFound."""
        return await self._tell(SetAccessKeyActive(identity, active), deadline)

    async def delete(self, identity: str, deadline: Millis) -> KeyDescription:
        """Raises AccessKeyNotFound."""
        return await self._tell(DeleteAccessKey(identity), deadline)

    # --- for whoever verifies a signature

    def known(self, identity: str) -> AccessKey | None:
        """The active key of that id, if that is known without asking. None: ``find`` it."""
        known = self._known.get(identity)
        if known is None:
            return None
        age = self.clock.monotonic() - known.confirmed
        if age < RENEW_AFTER:
            return known.key
        # One caller asks again; the others need not wait for it.
        if identity in self._lookups and (age < STALENESS or (known.held and age < HOLD)):
            return known.key
        return None

    async def find(self, identity: str, deadline: Millis) -> AccessKey | None:
        """The active key of that id; None if nobody has it, or it is disabled. One lookup at a time for one id.

        Raises Unavailable, DeadlineExceeded, and Overloaded while too many unknown ids are being looked up.
        """
        key = self.known(identity)
        if key is not None or self._missed(identity):
            return key
        while (lookup := self._lookups.get(identity)) is not None:
            await asyncio.wait([lookup])
            if not lookup.cancelled():
                return self._conclude(identity, lookup.result())
        if len(self._lookups) >= MAX_LOOKUPS and identity not in self._known:
            raise Overloaded(f"{MAX_LOOKUPS} access keys are being looked up already: try again in a moment")
        lookup = self._lookups[identity] = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._look_up(identity, deadline)
            lookup.set_result(outcome)
        finally:
            lookup.cancel()  # unless it has a result: those who wait look for themselves
            del self._lookups[identity]
        return self._conclude(identity, outcome)

    # --- inside

    async def _look_up(self, identity: str, deadline: Millis) -> _Outcome:
        started = self.clock.monotonic()
        until = min(deadline, Millis(started + LOOKUP_TIME))
        try:
            key: AccessKey | None = await self._locator.on_leader(
                DIRECTORY_GROUP, self._finding, FindAccessKey(identity), until
            )
        except BrokerError as error:
            return error
        if key is None or not key.active:
            self._known.pop(identity, None)
            if len(self._misses) >= MAX_MISSES:
                del self._misses[next(iter(self._misses))]
            self._misses[identity] = self.clock.monotonic()
            return None
        before = self._known.pop(identity, None)
        if before is not None and before.key == key:
            key = before.key  # the same object while nothing has changed: others remember things of it
        elif len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[identity] = _Known(key, started)  # it may have changed since the question was sent
        return key

    def _conclude(self, identity: str, outcome: _Outcome) -> AccessKey | None:
        if not isinstance(outcome, BrokerError):
            return outcome
        known = self._known.get(identity)
        if known is None or self.clock.monotonic() - known.confirmed >= HOLD:
            raise outcome
        known.held = True
        return known.key

    def _missed(self, identity: str) -> bool:
        missed = self._misses.get(identity)
        if missed is None:
            return False
        if self.clock.monotonic() - missed < MISS_LIFETIME:
            return True
        del self._misses[identity]
        return False

    async def _tell(self, command: Command, deadline: Millis) -> KeyDescription:
        request = self._request_ids.take()
        try:
            reply = await self._locator.on_leader(DIRECTORY_GROUP, self._telling, _Tell(command, request), deadline)
        finally:
            self._request_ids.give_back(request)
            self._known.pop(command.id, None)
            self._misses.pop(command.id, None)
        return accepted_as(Done, reply).key

    async def _tell_here(self, group: GroupId, tell: _Tell, deadline: Millis) -> Any:
        reply = await self._groups.propose(group, ROOM, tell.command, self._remaining(deadline), tell.request)
        return accepted(reply) if isinstance(reply, Refusal) else reply

    async def _ask_here(self, group: GroupId, question: msgspec.Struct, deadline: Millis) -> Any:
        return accepted(await self._groups.query(group, ROOM, question, self._remaining(deadline)))

    def _remaining(self, deadline: Millis) -> Millis:
        return Millis(deadline - self.clock.monotonic())
