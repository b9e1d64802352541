"""Clocks that jump by ten minutes and back."""

from __future__ import annotations

import asyncio
from functools import partial

from loadtest.faults.scene import Fault, Scene

JUMP_MS = 600_000
_LASTS_SECONDS = 8.0


async def _jump(scene: Scene, by: int) -> None:
    leader = await scene.leader()
    scene.cluster.order(leader, wall_shift=by)
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.order(leader, wall_shift=0)


async def _jump_of_follower(scene: Scene) -> None:
    """Which then leads."""
    follower, leader = await scene.follower(), await scene.leader()
    scene.cluster.order(follower, wall_shift=JUMP_MS)
    await scene.cluster.kill(leader)
    await asyncio.sleep(1.0)
    await scene.cluster.start_again(leader)
    await asyncio.sleep(_LASTS_SECONDS / 2)
    scene.cluster.order(follower, wall_shift=0)


async def _apart(scene: Scene) -> None:
    """No two clocks agree, and leadership moves between them."""
    shifts = (JUMP_MS, -JUMP_MS, 0)
    for node, shift in zip(scene.cluster.nodes.values(), shifts, strict=False):
        scene.cluster.order(node, wall_shift=shift)
    for _ in shifts:
        leader = await scene.leader()
        await scene.cluster.kill(leader)
        await asyncio.sleep(0.5)
        await scene.cluster.start_again(leader)
        await asyncio.sleep(1.5)
    for node in scene.cluster.nodes.values():
        scene.cluster.order(node, wall_shift=0)


CLOCK_FAULTS = (
    Fault("clock-ahead", "the leader's clock jumps 10 min ahead, and back", partial(_jump, by=JUMP_MS)),
    Fault("clock-behind", "the leader's clock jumps 10 min back, and ahead", partial(_jump, by=-JUMP_MS)),
    Fault("clock-next", "a follower's clock jumps 10 min ahead, and it comes to lead", _jump_of_follower),
    Fault("clock-apart", "clocks are 10 min apart while leaders are killed", _apart),
)
