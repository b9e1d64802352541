"""A cluster under load is backed up, loses a node meanwhile, and another cluster is made of the backup.

Messages go round between groups all the time: dead letters there, a move task on. In the new cluster everything that
was confirmed before the backup began is there, once; FIFO messages are in order; nothing deleted before has come back.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest

from broker.base.errors import BrokerError
from broker.base.limits import MIB
from broker.cli.fetching import Fetching, Watcher
from broker.client.backup import CapturedCluster, CapturedPart
from broker.client.client import Client
from broker.client.model import OutgoingMessage, RedrivePolicy
from broker.node.backup_check import check
from broker.node.restoring import restore
from broker.storage.disk import SystemDisk
from loadtest.cluster import LocalCluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

ORDERS, DEAD, AGAIN, LEDGER = "orders", "dead", "again", "ledger.fifo"
STANDARD = (ORDERS, DEAD, AGAIN)
CUSTOMERS = 10
DELETED = 100
BODY = b"x" * 2_000
READS_BEFORE_THE_NODE_DIES = 3
IN_FLIGHT_SECONDS = 3.0


class Load:
    """Sends, receives, buries and moves on, until it ends. ``orders`` and ``ledger``: what was confirmed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.orders: set[int] = set()
        self.ledger: dict[str, list[int]] = {f"customer-{number}": [] for number in range(CUSTOMERS)}
        self._next = DELETED
        self._stop = False
        self._progress = asyncio.Event()

    async def __aenter__(self) -> Load:
        work = [self._send, self._send, self._bury, self._move, self._hold]
        self._tasks = [asyncio.ensure_future(each()) for each in work]
        self._tasks += [asyncio.ensure_future(self._book(customer)) for customer in self.ledger]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def more(self, orders: int) -> None:
        """Until so many more are confirmed."""
        goal = len(self.orders) + orders
        async with asyncio.timeout(30):
            while len(self.orders) < goal or min(map(len, self.ledger.values())) < 5:
                self._progress.clear()
                await self._progress.wait()

    async def _send(self) -> None:
        while not self._stop:
            numbers = range(self._next, self._next + 20)
            self._next += 20
            await self._client.send_many(ORDERS, [b"%d " % number + BODY for number in numbers])
            self.orders.update(numbers)
            self._progress.set()
            await asyncio.sleep(0.02)

    async def _book(self, customer: str) -> None:
        number = 0
        while not self._stop:
            await self._client.send(
                LEDGER, b"%d" % number, message_group=customer, deduplication_id=f"{customer}-{number}"
            )
            self.ledger[customer].append(number)
            number += 1
            await asyncio.sleep(0.05)

    async def _bury(self) -> None:
        """What was received twice goes to the dead-letter queue."""
        while not self._stop:
            await self._quietly(self._client.receive(ORDERS, max_messages=50, visibility_timeout=0.0))
            await asyncio.sleep(0.01)

    async def _move(self) -> None:
        while not self._stop:
            await self._quietly(self._client.start_move(DEAD, AGAIN, rate=200))
            await asyncio.sleep(0.3)

    async def _hold(self) -> None:
        while not self._stop:
            await self._quietly(self._client.receive(AGAIN, max_messages=5, visibility_timeout=IN_FLIGHT_SECONDS))
            await self._quietly(self._client.receive(LEDGER, max_messages=5, visibility_timeout=IN_FLIGHT_SECONDS))
            await asyncio.sleep(0.1)

    @staticmethod
    async def _quietly(call) -> None:
        try:
            await call
        except BrokerError:  # a move task that runs already, a leader that has died
            await asyncio.sleep(0.05)


class Killer:
    """Reads on behalf of a backup, and after a few reads kills the node that it reads from."""

    def __init__(self, client: Client, cluster: LocalCluster) -> None:
        self._client = client
        self._cluster = cluster
        self._reads = 0
        self.victim = ""

    async def begin_backup(self) -> CapturedCluster:
        return await self._client.begin_backup()

    async def read_captured(self, backup: bytes, group: int, source: str, part: int) -> CapturedPart:
        found = await self._client.read_captured(backup, group, source, part)
        self._reads += part > 0
        if self._reads == READS_BEFORE_THE_NODE_DIES and not self.victim:
            self.victim = source
            self._cluster.nodes[source].kill()
        return found

    async def keep_captured(self, backup: bytes, groups: list[int]) -> None:
        await self._client.keep_captured(backup, groups)


class Troubles(Watcher):
    def __init__(self) -> None:
        self.told: list[str] = []

    def trouble(self, what: str) -> None:
        self.told.append(what)


async def test_a_cluster_under_load_that_loses_a_node_is_backed_up_and_made_anew(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    old = LocalCluster(tmp_path / "old")
    for node in old.nodes.values():
        node.configure(msgspec.structs.replace(node.settings, transfer_bytes_per_second=4 * MIB))
    async with old, Client(old.addresses) as client:
        await make_queues(client)
        async with Load(client) as load:
            await load.more(1_500)
            orders = set(load.orders)
            ledger = {customer: len(numbers) for customer, numbers in load.ledger.items()}
            attributes = await attributes_of(client)
            killer, troubles = Killer(client, old), Troubles()
            manifest = await Fetching(killer, SystemDisk(backup), troubles).run()
            assert killer.victim
            assert any("is read anew from" in told for told in troubles.told)
            await load.more(100)
        sent = load

    new = LocalCluster(tmp_path / "new")
    for node in new.nodes.values():
        node.configure(msgspec.structs.replace(node.settings, cluster="other"))
        restore(backup, node.settings)
    async with new, Client(new.addresses) as client:
        assert len(manifest.groups) == 13
        assert await attributes_of(client) == attributes
        await asyncio.gather(check_orders(client, orders, sent.orders), check_ledger(client, ledger))
        assert (await client.send(ORDERS, b"new")).id.index > max(group.index for group in manifest.groups)
        another = tmp_path / "another"
        broker("backup", str(another), "-c", new.addresses)
        assert len(check(another).manifest.groups) == 13


async def make_queues(client: Client) -> None:
    await client.create_queue(DEAD)
    await client.create_queue(AGAIN, visibility_timeout=7.0, stripes=2)
    await client.create_queue(ORDERS, redrive=RedrivePolicy(DEAD, 2), retention=3_600.0)
    await client.create_queue(LEDGER, visibility_timeout=9.0)
    await client.send_many(AGAIN, [OutgoingMessage(b"%d" % number) for number in range(DELETED)])
    left = DELETED
    while left:
        left -= len(await take(client, AGAIN))


async def take(client: Client, queue: str) -> list[bytes]:
    """Receives and deletes what is there."""
    messages = await client.receive(queue, max_messages=1_000, wait=0.2, visibility_timeout=30.0)
    if messages:
        await client.delete(queue, [message.receipt_handle for message in messages])
    return [message.body for message in messages]


async def attributes_of(client: Client) -> dict[str, object]:
    names = [name async for name in client.list_queues()]
    found = [await client.describe_queue(name) for name in names]
    return {each.name: (each.attributes, each.group, each.groups, each.created_at) for each in found}


async def check_orders(client: Client, confirmed: set[int], sent: set[int]) -> None:
    """Everything that is in one of the queues among which messages move, or on its way between them."""
    found: Counter[int] = Counter()
    async with asyncio.timeout(40):
        while True:
            for name in STANDARD:
                found.update(int(body.split()[0]) for body in await take(client, name))
            counts = [(await client.describe_queue(name)).counts for name in STANDARD]
            if not any(each.visible + each.in_flight + each.moving for each in counts):
                break
    assert confirmed - set(found) == set(), "messages are missing"
    assert [number for number, times in found.items() if times > 1] == [], "messages are doubled"
    assert set(found) <= sent
    assert min(found) >= DELETED, "deleted messages have come back"


async def check_ledger(client: Client, confirmed: dict[str, int]) -> None:
    found: dict[str, list[int]] = defaultdict(list)
    async with asyncio.timeout(40):
        while (await client.describe_queue(LEDGER)).counts.visible or any(
            len(found[customer]) < count for customer, count in confirmed.items()
        ):
            for message in await client.receive(LEDGER, max_messages=1_000, wait=1.0):
                found[message.message_group or ""].append(int(message.body))
                await client.delete(LEDGER, [message.receipt_handle])
    for customer, numbers in found.items():
        assert numbers == list(range(len(numbers))), f"messages of {customer} are missing, doubled or out of order"


def broker(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "broker", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
