"""What goes wrong between zones: distance, loss, and cuts of every kind."""

from __future__ import annotations

import asyncio
from functools import partial

from loadtest.faults.links import Link, between_zones, cut_off, deaf, mute
from loadtest.faults.scene import Fault, Scene, Script

_LASTS_SECONDS = 8.0
_FLAPS = 8


async def _between_zones(scene: Scene, link: Link) -> None:
    scene.cluster.shape(between_zones(scene.cluster.zones, link))
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.shape()


async def _cut(scene: Scene) -> None:
    """The zone of the leader, from the others and from clients."""
    zone = await scene.leaders_zone()
    scene.cluster.shape(cut_off(zone, scene.cluster.others(zone)))
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.shape()


async def _cut_from_zones(scene: Scene) -> None:
    """As above, but clients reach all zones: some talk to a leader that is none any more."""
    zone = await scene.leaders_zone()
    scene.cluster.shape(cut_off(zone, [each for each in scene.cluster.zones if each != zone]))
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.shape()


async def _mute(scene: Scene) -> None:
    zone = await scene.leaders_zone()
    scene.cluster.shape(mute(zone, [each for each in scene.cluster.zones if each != zone]))
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.shape()


async def _deaf(scene: Scene) -> None:
    zone = await scene.leaders_zone()
    scene.cluster.shape(deaf(zone, [each for each in scene.cluster.zones if each != zone]))
    await asyncio.sleep(_LASTS_SECONDS)
    scene.cluster.shape()


async def _flapping(scene: Scene) -> None:
    """Cut for about as long as it takes to notice, and back for about as long as it takes to mend."""
    zone = await scene.leaders_zone()
    for flap in range(_FLAPS):
        scene.cluster.shape(cut_off(zone, scene.cluster.others(zone)))
        await asyncio.sleep(0.3 + 0.2 * flap)
        scene.cluster.shape()
        await asyncio.sleep(1.0)


def _far(milliseconds: float) -> Script:
    return partial(_between_zones, link=Link(delay=milliseconds))


NETWORK_FAULTS = (
    Fault("delay-2ms", "2 ms each way between zones", _far(2)),
    Fault("delay-20ms", "20 ms each way between zones", _far(20)),
    Fault("loss", "1 % of the packets between zones are lost", partial(_between_zones, link=Link(loss=0.01))),
    Fault("cut", "the leader's zone is cut off from all", _cut),
    Fault("cut-zones", "the leader's zone is cut off from the others, clients reach it", _cut_from_zones),
    Fault("mute", "nothing leaves the leader's zone for the others", _mute),
    Fault("deaf", "nothing reaches the leader's zone from the others", _deaf),
    Fault("flapping", "the leader's zone is cut off and back eight times", _flapping),
    Fault("zone-cut", "of six nodes, the two of the leader's zone are cut off", _cut, nodes=6),
)
