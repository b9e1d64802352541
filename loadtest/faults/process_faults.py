"""What happens to processes: kill -9, pauses, storms of restarts, power cuts."""

from __future__ import annotations

import asyncio
from functools import partial

from loadtest.faults.scene import Fault, Scene

_KILLS = 3
_DOWN_SECONDS = 1.0
_BETWEEN_SECONDS = 2.0
_ZONE_DOWN_SECONDS = 8.0


async def _kill_leaders(scene: Scene) -> None:
    """One after the other: each has the next one lead."""
    for _ in range(_KILLS):
        leader = await scene.leader()
        await scene.cluster.kill(leader)
        await asyncio.sleep(_DOWN_SECONDS)
        await scene.cluster.start_again(leader)
        await asyncio.sleep(_BETWEEN_SECONDS)


async def _kill_follower(scene: Scene) -> None:
    for _ in range(_KILLS):
        follower = await scene.follower()
        await scene.cluster.kill(follower)
        await asyncio.sleep(_DOWN_SECONDS)
        await scene.cluster.start_again(follower)
        await asyncio.sleep(_BETWEEN_SECONDS)


async def _pause_leader(scene: Scene, seconds: float) -> None:
    leader = await scene.leader()
    scene.cluster.pause(leader)
    try:
        await asyncio.sleep(seconds)
    finally:
        scene.cluster.go_on(leader)


async def _pause_all(scene: Scene, seconds: float) -> None:
    """As when the machine below all of them is moved."""
    for node in scene.cluster.nodes.values():
        scene.cluster.pause(node)
    try:
        await asyncio.sleep(seconds)
    finally:
        for node in scene.cluster.nodes.values():
            scene.cluster.go_on(node)


async def _storm(scene: Scene) -> None:
    """Each node is killed before the one before it is ready again."""
    for _ in range(_KILLS):
        for node in scene.cluster.nodes.values():
            await scene.cluster.kill(node)
            node.start()
            await asyncio.sleep(0.5)
    await scene.cluster.kill(*scene.cluster.nodes.values())
    await scene.cluster.start_again(*scene.cluster.nodes.values())


async def _power_cut(scene: Scene) -> None:
    """Of everything at once; what no disk had synced is gone."""
    nodes = list(scene.cluster.nodes.values())
    await scene.cluster.kill(*nodes)
    await asyncio.sleep(_DOWN_SECONDS)
    await scene.cluster.start_again(*nodes)


async def _power_cut_after_lies(scene: Scene) -> None:
    nodes = list(scene.cluster.nodes.values())
    for node in nodes:
        scene.cluster.order(node, lying=True)
    await asyncio.sleep(_BETWEEN_SECONDS)
    await scene.cluster.kill(*nodes)
    for node in nodes:
        scene.cluster.order(node, lying=False)
    await scene.cluster.start_again(*nodes)


async def _power_cut_of_zone(scene: Scene) -> None:
    nodes = scene.cluster.of_zone(await scene.leaders_zone())
    await scene.cluster.kill(*nodes)
    await asyncio.sleep(_ZONE_DOWN_SECONDS)
    await scene.cluster.start_again(*nodes)


PROCESS_FAULTS = (
    Fault("kill", "kill -9 of the leader, three times", _kill_leaders),
    Fault("kill-follower", "kill -9 of a follower, three times", _kill_follower),
    Fault("pause-1", "the leader stands still for 1 s", partial(_pause_leader, seconds=1.0)),
    Fault("pause-5", "the leader stands still for 5 s", partial(_pause_leader, seconds=5.0)),
    Fault("pause-20", "the leader stands still for 20 s", partial(_pause_leader, seconds=20.0)),
    Fault("pause-60", "the leader stands still for 60 s", partial(_pause_leader, seconds=60.0)),
    Fault("pause-all", "all nodes stand still for 5 s", partial(_pause_all, seconds=5.0)),
    Fault("storm", "all nodes are killed one after the other, three times, then all at once", _storm),
    Fault("power-cut", "all nodes lose power, and what no disk had synced", _power_cut, volatile=True),
    Fault(
        "lying-disks",
        "control: all disks say they have synced and have not, then all nodes lose power",
        _power_cut_after_lies,
        volatile=True,
        changes=True,
        control=True,
    ),
    Fault("zone-power", "of six nodes, the two of the leader's zone lose power", _power_cut_of_zone, 6, True),
)
