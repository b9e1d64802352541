"""Real processes on small file systems that run full: sends are refused, the rest goes on, and room mends it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from broker.base.errors import DeadlineExceeded, DiskFull
from broker.base.limits import KIB, MIB
from broker.client.client import Client
from loadtest.cluster import LocalCluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

SIZE, LARGER, RESERVE = "40m", "80m", 12 * MIB
BODY = bytes(100 * KIB)
IMPATIENT, PATIENT = 3.0, 90.0
"""Seconds for a call."""


def mount(path: Path, options: str) -> str:
    """Why not; empty when it is done."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A file system of its own for each node."""
    mounted: dict[str, Path] = {}
    try:
        for node in ("a-0", "b-0", "c-0"):
            path = tmp_path / "cluster" / node
            path.mkdir(parents=True)
            reason = mount(path, f"size={SIZE}")
            if reason:
                pytest.skip(f"a file system cannot be mounted here: {reason}")
            mounted[node] = path
        yield mounted
    finally:
        for path in mounted.values():
            subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
async def cluster(disks: dict[str, Path], tmp_path: Path) -> AsyncIterator[LocalCluster]:
    started = LocalCluster(tmp_path / "cluster")
    for node in started.nodes.values():
        assert Path(node.settings.data_dir) == disks[node.id]
        settings = msgspec.structs.replace(
            node.settings, groups=2, segment_bytes=2 * MIB, disk_reserve_bytes=RESERVE, snapshot_after_bytes=4 * MIB
        )
        node.configure(settings)
    async with started:
        yield started


async def with_a_larger_disk(_: Client, disks: dict[str, Path]) -> int:
    for path in disks.values():
        assert mount(path, f"remount,size={LARGER}") == ""
    return 0


async def by_emptying_the_queue(client: Client, _: dict[str, Path]) -> int:
    return await emptied(client)


async def fill(client: Client) -> tuple[int, int, str]:
    """How many messages were stored before one was refused for want of room, how many perhaps, and with which words."""
    stored = perhaps = 0
    async with asyncio.timeout(PATIENT):
        while True:
            try:
                await client.send("orders", BODY)
            except DiskFull as error:
                return stored, perhaps, str(error)
            except DeadlineExceeded:  # the time was up before the answer to the last attempt came
                perhaps += 1
            else:
                stored += 1


async def emptied(client: Client) -> int:
    """How many messages there were; they are received and deleted."""
    count = 0
    while messages := await client.receive("orders", max_messages=10, wait=1.0):
        assert await client.delete("orders", [each.receipt_handle for each in messages]) == [None] * len(messages)
        count += len(messages)
    return count


@pytest.mark.parametrize("make_room", [with_a_larger_disk, by_emptying_the_queue])
async def test_full_disks_refuse_sends_let_the_rest_go_on_and_need_nothing_but_room(
    cluster: LocalCluster, disks: dict[str, Path], make_room: Callable[[Client, dict[str, Path]], Awaitable[int]]
) -> None:
    async with Client(cluster.addresses, timeout=IMPATIENT) as client:
        # given nodes that are sent more than their disks hold
        await client.create_queue("orders", visibility_timeout=600.0)
        stored, perhaps, refusal = await fill(client)
        assert "nothing was sent" in refusal
        assert refusal.endswith("The message was not stored")

        # then what was refused is not there, and messages are received and deleted as ever
        assert stored > 0
        there = (await client.describe_queue("orders")).counts.sent_total
        assert stored <= there <= stored + perhaps
        messages = await client.receive("orders", max_messages=3, wait=5.0)
        assert [each.body for each in messages] == [BODY] * len(messages)
        assert await client.delete("orders", [each.receipt_handle for each in messages]) == [None] * len(messages)
        received = len(messages)
        assert received > 0

        # when there is room again, then sends go on, without anybody's doing
        received += await make_room(client, disks)
        async with Client(cluster.addresses, timeout=PATIENT) as patient:
            await patient.send("orders", BODY)

        # and everything is there once
        assert received + await emptied(client) == there + 1
