"""What happens to disks: slow, full, rotten, lost, and taken from another time."""

from __future__ import annotations

import asyncio
import random
import shutil
from functools import partial
from pathlib import Path

from broker.base.errors import BrokerError
from broker.client.client import Client
from broker.storage import layout
from loadtest.cluster import BrokerProcess
from loadtest.faults.scene import Fault, Scene, last_line

SLOW_SYNC_MS = 200.0
LITTLE_ROOM = 1024 * 1024
_LASTS_SECONDS = 10.0
_AWAY_SECONDS = 3.0
_REFUSES_WITHIN_SECONDS = 12.0
_ROTTEN_BYTES = 8
_LOOK_EVERY_SECONDS = 0.1
_PROBE = "probe"
_PROBE_SECONDS = 2.0


async def _slow(scene: Scene, leading: bool) -> None:
    node = await (scene.leader() if leading else scene.follower())
    scene.cluster.order(node, sync_delay=SLOW_SYNC_MS)
    await asyncio.sleep(_LASTS_SECONDS)
    if leading and (await scene.leader()) is node:
        scene.doubt(f"node {node.id} still leads after {_LASTS_SECONDS:g} s with a slow disk")
    scene.cluster.order(node, sync_delay=0.0)


async def _full(scene: Scene, leading: bool) -> None:
    """Not a byte more; what is preallocated can be written."""
    node = await (scene.leader() if leading else scene.follower())
    scene.cluster.order(node, full=True)
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.order(node, full=False)
    await scene.back(node)


async def _nearly_full(scene: Scene) -> None:
    """Every disk tells that there is hardly room: sends are refused, and clients are told why."""
    nodes = list(scene.cluster.nodes.values())
    await scene.client.create_queue(_PROBE)
    for node in nodes:
        scene.cluster.order(node, free_bytes=LITTLE_ROOM)
    await asyncio.sleep(_AWAY_SECONDS)
    await _probe(scene)
    await asyncio.sleep(_LASTS_SECONDS - _AWAY_SECONDS)
    for node in nodes:
        scene.cluster.order(node, free_bytes=None)
    for node in nodes:
        await scene.back(node, seconds=0.5)


async def _probe(scene: Scene) -> None:
    async with Client(scene.cluster.addresses, timeout=_PROBE_SECONDS) as client:
        try:
            await client.send(_PROBE, b"no room for this")
        except BrokerError as error:
            scene.note(f"a sender is told {error.code}: {error}")
        else:
            scene.doubt("a send was taken though there was hardly any room")
    await scene.client.delete_queue(_PROBE)


async def _rot(scene: Scene, folder: str) -> None:
    """Bytes change in the oldest file of the folder while the node is down."""
    node = await scene.follower()
    await scene.cluster.kill(node)
    place = scene.cluster.data(node)
    files = sorted(
        path for path in (place / folder).iterdir() if path.suffix in {".seg", ".snap"} and path.stat().st_size
    )
    if files:
        scene.note(f"{rot(files[0], random.Random())} of {node.id} rotted")
    else:
        scene.note(f"there was nothing to rot in {folder} of {node.id}")
    await asyncio.sleep(_AWAY_SECONDS)
    await scene.start_or_empty(node)


async def _rot_manifest(scene: Scene) -> None:
    node = await scene.follower()
    await scene.cluster.kill(node)
    scene.note(f"{rot(scene.cluster.data(node) / layout.MANIFEST, random.Random())} of {node.id} rotted")
    await asyncio.sleep(_AWAY_SECONDS)
    await scene.start_or_empty(node)


async def _lost(scene: Scene) -> None:
    node = await scene.follower()
    await scene.cluster.kill(node)
    scene.cluster.lose_data(node)
    await asyncio.sleep(_AWAY_SECONDS)
    await scene.cluster.start_again(node)


async def _lost_of_leader(scene: Scene) -> None:
    node = await scene.leader()
    await scene.cluster.kill(node)
    scene.cluster.lose_data(node)
    await scene.cluster.start_again(node)


async def _old(scene: Scene) -> None:
    """A copy of the directory from before is put in its place: it must be refused."""
    node = await scene.follower()
    place = scene.cluster.data(node)
    copy = place.with_name(place.name + "-old")
    await scene.cluster.kill(node)
    shutil.copytree(place, copy)
    await scene.cluster.start_again(node)
    await asyncio.sleep(_AWAY_SECONDS)
    await scene.cluster.kill(node)
    shutil.rmtree(place)
    copy.rename(place)
    node.start()
    if await _ended(node):
        scene.note(f"the old copy was refused: {last_line(node)}")
        await scene.start_or_empty(node)
    else:
        scene.doubt(f"node {node.id} did not refuse an old copy of its directory")


async def _ended(node: BrokerProcess) -> bool:
    for _ in range(round(_REFUSES_WITHIN_SECONDS / _LOOK_EVERY_SECONDS)):
        if node.pid is None:
            return True
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    return False


def rot(path: Path, chance: random.Random) -> str:
    """Changes some bytes in a row somewhere in what the file has; says where."""
    data = bytearray(path.read_bytes())
    used = len(data.rstrip(b"\0"))
    at = chance.randrange(max(1, used - _ROTTEN_BYTES))
    for offset in range(at, min(at + _ROTTEN_BYTES, len(data))):
        data[offset] ^= chance.randrange(1, 256)
    path.write_bytes(data)
    return f"{path.name} at {at}"


DISK_FAULTS = (
    Fault("slow-leader", "each sync of the leader takes 200 ms longer", partial(_slow, leading=True)),
    Fault("slow-follower", "each sync of a follower takes 200 ms longer", partial(_slow, leading=False)),
    Fault("full-leader", "the leader's disk is full", partial(_full, leading=True)),
    Fault("full-follower", "a follower's disk is full", partial(_full, leading=False)),
    Fault("nearly-full", "all disks have hardly any room", _nearly_full),
    Fault("rot-log", "bit rot in a stopped node's log", partial(_rot, folder=layout.WAL)),
    Fault("rot-snapshot", "bit rot in a stopped node's snapshot", partial(_rot, folder=layout.SNAPSHOTS)),
    Fault("rot-manifest", "bit rot in a stopped node's manifest", _rot_manifest),
    Fault("lost-disk", "a follower comes back with an empty directory", _lost),
    Fault("lost-leader", "the leader comes back at once, with an empty directory", _lost_of_leader),
    Fault("old-disk", "a node comes back with an old copy of its directory", _old),
)
