"""A node whose disk is too slow, or has no room, lets others lead, and goes on as a follower until the disk is well.

Runs on every node. Whether the disk is fit is replication's to say, and how leaderships move is the cluster service's.
This room must not know why a node is unfit.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from broker.base.errors import BrokerError
from broker.base.instants import SECOND, Millis
from broker.replication.groups import Groups
from broker.services.cluster import HandedOver
from broker.services.locating import Pause

_logger = logging.getLogger(__name__)

LOOK_EVERY = Millis(SECOND)
TIME = Millis(5 * SECOND)
"""What handing over may take at a time."""
REST = 10
"""Looks that are left out when nobody would take what this node leads: all disks may be in the same state."""

HandOver = Callable[[Millis], Awaitable[HandedOver]]


class SteppingBack:
    """``hand_over``: everything, until an instant."""

    def __init__(self, groups: Groups, hand_over: HandOver, pause: Pause) -> None:
        self._groups = groups
        self._hand_over = hand_over
        self._pause = pause
        self._resting = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._pause(LOOK_EVERY)

    async def look(self) -> None:
        """One look: what is led here is handed over if it should be."""
        if self._resting:
            self._resting -= 1
            return
        if self._groups.fit_to_lead or not any(self._groups.leads(each.group) for each in self._groups.status()):
            return
        try:
            done = await self._hand_over(Millis(self._groups.clock.monotonic() + TIME))
        except BrokerError as error:
            _logger.warning("stepping back: %s", error)
            return
        if done.moved:
            _logger.warning("stepping back: %s leaderships handed over, %s kept", done.moved, done.kept)
        else:
            self._resting = REST
