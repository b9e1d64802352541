"""Access keys of the cluster: made anywhere, found anywhere, and gone everywhere soon after they were disabled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from broker.base.errors import AccessKeyNotFound, BrokerError, Conflict, InvalidArgument, Overloaded, Unavailable
from broker.base.ids import NodeId
from broker.base.instants import SECOND, Millis
from broker.domain.identity.commands import AccessKey
from broker.services import access_keys
from broker.services.access_keys import HOLD, MAX_LOOKUPS, MISS_LIFETIME, RENEW_AFTER, STALENESS, AccessKeys
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started

ACCOUNT = "123456789012"


class World:
    """Three nodes; the directory's leader is a-0."""

    def __init__(self, cluster: FakeCluster, on: dict[str, AccessKeys]) -> None:
        self.cluster = cluster
        self.on = on

    def soon(self) -> Millis:
        return soon(self.cluster)

    async def create(self, node: str = "a-0", account: str = ACCOUNT, user: str = "") -> AccessKey:
        return await self.on[node].create(account, user, self.soon())

    async def find(self, key: AccessKey, node: str = "b-0") -> AccessKey | None:
        return await self.on[node].find(key.id, self.soon())

    async def set_active(self, key: AccessKey, active: bool, node: str = "a-0") -> None:
        await self.on[node].set_active(key.id, active, self.soon())

    def later(self, time: int) -> None:
        self.cluster.clock.advance(time)

    @property
    def lookups(self) -> int:
        return sum(method == "identity.find" for _, _, method in self.cluster.calls)


async def world() -> World:
    cluster = FakeCluster(nodes=3)
    return World(cluster, {node: services.access_keys for node, services in (await started(cluster)).items()})


async def test_a_key_is_made_on_any_node_and_found_on_any_other() -> None:
    there = await world()
    key = await there.create("c-0", user="alice")
    assert re.fullmatch("AKIA[A-Z2-7]{16}", key.id)
    assert re.fullmatch("[A-Za-z0-9]{40}", key.secret)
    assert (key.account, key.user, key.active) == (ACCOUNT, "alice", True)
    for node in there.on:
        assert await there.find(key, node) == key


async def test_no_two_keys_are_alike() -> None:
    there = await world()
    keys = [await there.create() for _ in range(5)]
    assert len({key.id for key in keys}) == len({key.secret for key in keys}) == 5


async def test_keys_are_listed_without_secrets() -> None:
    there = await world()
    keys = [await there.create(), await there.create(account="999999999999")]
    page = await there.on["b-0"].page("", "", 10, there.soon())
    assert sorted(each.id for each in page.keys) == sorted(key.id for key in keys)
    assert not any(hasattr(each, "secret") for each in page.keys)
    assert [each.id for each in (await there.on["b-0"].page(ACCOUNT, "", 10, there.soon())).keys] == [keys[0].id]


async def test_what_is_wrong_is_told_by_the_one_who_was_asked() -> None:
    there = await world()
    with pytest.raises(InvalidArgument, match="12 digits"):
        await there.create("b-0", account="12")
    for change in (
        there.on["b-0"].delete("AKIANOBODY", there.soon()),
        there.on["b-0"].set_active("AKIANOBODY", True, there.soon()),
    ):
        with pytest.raises(AccessKeyNotFound, match="there is no access key AKIANOBODY"):
            await change


async def test_chance_that_repeats_itself_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    there = await world()
    first = await there.create()
    ids = iter([first.id, first.id, "AKIA" + "B" * 16])
    monkeypatch.setattr(access_keys.base64, "b32encode", lambda _: next(ids)[4:].encode())
    assert (await there.create()).id == "AKIA" + "B" * 16
    ids = iter([first.id] * 3)
    with pytest.raises(Conflict):
        await there.create()


async def test_a_creation_whose_outcome_is_unknown_is_not_done_twice() -> None:
    there = await world()
    there.cluster.after = [Unavailable("lost")]
    key = await there.create()
    assert await there.find(key) == key
    assert [each.id for each in (await there.on["a-0"].page("", "", 10, there.soon())).keys] == [key.id]


# --- what is known without asking


async def test_a_key_that_was_found_is_known_for_a_while() -> None:
    there = await world()
    key = await there.create()
    assert there.on["b-0"].known(key.id) is None
    await there.find(key)
    there.later(RENEW_AFTER - 1)
    assert there.on["b-0"].known(key.id) == key
    assert there.lookups == 1
    there.later(1)
    assert there.on["b-0"].known(key.id) is None
    assert await there.find(key) == key
    assert there.lookups == 2


@pytest.mark.parametrize("change", ["disable", "delete"])
async def test_a_key_ends_everywhere_within_the_time_that_is_stated(change: str) -> None:
    there = await world()
    key = await there.create()
    for node in there.on:
        await there.find(key, node)
    if change == "disable":
        await there.set_active(key, False)
    else:
        await there.on["a-0"].delete(key.id, there.soon())
    assert there.on["a-0"].known(key.id) is None, "who was told knows at once"
    assert there.on["b-0"].known(key.id) == key
    there.later(STALENESS)
    for node in there.on:
        assert there.on[node].known(key.id) is None
        assert await there.find(key, node) is None


async def test_an_enabled_key_is_accepted_again() -> None:
    there = await world()
    key = await there.create()
    await there.set_active(key, False)
    assert await there.find(key) is None
    await there.set_active(key, True)
    there.later(MISS_LIFETIME)
    assert await there.find(key) == key


async def test_what_nobody_has_is_not_asked_for_again_at_once() -> None:
    there = await world()
    keys = there.on["b-0"]
    for _ in range(3):
        assert await keys.find("AKIANOBODY", there.soon()) is None
    assert there.lookups == 1
    there.later(MISS_LIFETIME)
    assert await keys.find("AKIANOBODY", there.soon()) is None
    assert there.lookups == 2


async def test_neither_keys_nor_strangers_without_end_are_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_keys, "MAX_KNOWN", 3)
    monkeypatch.setattr(access_keys, "MAX_MISSES", 3)
    there = await world()
    keys = there.on["b-0"]
    for number in range(10):
        await there.find(await there.create())
        await keys.find(f"AKIA{number}", there.soon())
    assert (len(keys._known), len(keys._misses)) == (3, 3)


# --- lookups


class Gate:
    """Holds the lookups of b-0 until it is opened; each then raises ``error``, or goes on."""

    def __init__(self, there: World) -> None:
        self.begun = 0
        self.open = asyncio.Event()
        self.error: BrokerError | None = None
        self._groups = there.cluster.on[NodeId("b-0")]
        self._call = self._groups.call
        self._groups.call = self._held  # type: ignore[method-assign]

    async def _held(self, node: NodeId, method: str, payload: bytes, timeout: Millis) -> bytes:
        if method == "identity.find":
            self.begun += 1
            await self.open.wait()
            if self.error is not None:
                raise self.error
        return await self._call(node, method, payload, timeout)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


async def test_many_who_want_the_same_key_ask_once() -> None:
    there = await world()
    key = await there.create()
    gate = Gate(there)
    waiting = [asyncio.ensure_future(there.find(key)) for _ in range(5)]
    await until(lambda: gate.begun > 0)
    gate.open.set()
    assert await asyncio.gather(*waiting) == [key] * 5
    assert gate.begun == 1


async def test_while_one_asks_again_the_others_go_on() -> None:
    there = await world()
    key = await there.create()
    await there.find(key)
    there.later(RENEW_AFTER)
    gate = Gate(there)
    asking = asyncio.ensure_future(there.find(key))
    await until(lambda: gate.begun > 0)
    assert there.on["b-0"].known(key.id) == key
    there.later(STALENESS - RENEW_AFTER)
    assert there.on["b-0"].known(key.id) is None, "but not for longer than is stated"
    gate.open.set()
    assert await asking == key


async def test_whoever_waits_goes_on_when_the_one_who_asked_hangs_up() -> None:
    there = await world()
    key = await there.create()
    gate = Gate(there)
    first = asyncio.ensure_future(there.find(key))
    others = [asyncio.ensure_future(there.find(key)) for _ in range(3)]
    await until(lambda: gate.begun == 1)
    first.cancel()
    await until(lambda: gate.begun == 2)
    gate.open.set()
    assert await asyncio.gather(*others) == [key] * 3
    assert first.cancelled()
    assert gate.begun == 2


async def test_strangers_who_make_ids_up_wait_their_turn_and_known_keys_do_not() -> None:
    there = await world()
    key = await there.create()
    await there.find(key)
    there.later(STALENESS)
    gate = Gate(there)
    keys = there.on["b-0"]
    strangers = [asyncio.ensure_future(keys.find(f"AKIA{n}", there.soon())) for n in range(MAX_LOOKUPS)]
    await until(lambda: gate.begun == MAX_LOOKUPS)
    with pytest.raises(Overloaded, match="try again"):
        await keys.find("AKIAONEMORE", there.soon())
    ours = asyncio.ensure_future(there.find(key))
    await until(lambda: gate.begun == MAX_LOOKUPS + 1)
    gate.open.set()
    assert await ours == key
    assert set(await asyncio.gather(*strangers)) == {None}


# --- without a directory


def in_vain(there: World) -> Gate:
    gate = Gate(there)
    gate.error = Unavailable("no leader")
    gate.open.set()
    return gate


async def test_a_known_key_holds_on_for_a_while_when_nobody_can_be_asked() -> None:
    there = await world()
    key = await there.create()
    await there.find(key)
    in_vain(there)
    there.later(STALENESS)
    assert await there.find(key) == key
    there.later(HOLD)
    with pytest.raises(Unavailable):
        await there.find(key)


async def test_while_the_directory_is_asked_in_vain_only_one_waits() -> None:
    there = await world()
    key = await there.create()
    await there.find(key)
    gate = in_vain(there)
    there.later(10 * SECOND)
    assert await there.find(key) == key
    gate.open.clear()
    begun = gate.begun
    asking = asyncio.ensure_future(there.find(key))
    await until(lambda: gate.begun > begun)
    assert there.on["b-0"].known(key.id) == key
    gate.open.set()
    assert await asking == key


async def test_an_unknown_key_cannot_be_told_without_a_directory() -> None:
    there = await world()
    key = await there.create()
    in_vain(there)
    with pytest.raises(Unavailable):
        await there.find(key)
