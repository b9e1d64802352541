"""One node, from settings to exit code: builds it floor by floor, runs it, and takes it down in reverse.

Stopping is handing over: leaderships go to other nodes first, so that clients see a short pause and no error.
"""

from __future__ import annotations

import asyncio
import gc
import os
from importlib.metadata import version

from broker.aio.system_clock import SystemClock
from broker.aio.tasks import TaskScope
from broker.base.addresses import split_address
from broker.base.errors import BrokerError, Unavailable
from broker.base.instants import Millis
from broker.base.trouble import Trouble
from broker.node.frontage import Frontage
from broker.node.health import Health
from broker.node.metrics import register
from broker.node.replicas import Replicas
from broker.node.settings import NodeSettings, exposures
from broker.telemetry import logs
from broker.telemetry.admin import AdminServer, AdminSettings
from broker.telemetry.exposition import CONTENT_TYPE
from broker.telemetry.metrics import Registry, render

_log = logs.get(__name__)

FAILED = 1
LEFT = "it has left the cluster: its data directory can be removed; with an empty one it may join again"
GC_THRESHOLDS = (10_000, 5, 1_000)
"""Of the collector's generations. What dies young is mostly freed by counting references, so looking seldom would do;
but looking at 50,000 objects at once takes up to 25 ms, and calls that were refused, with their content, die in
circles: with 50 in the middle a storm of large ones was not collected for ten seconds, and took a node a GiB."""
LEFT_POLL_SECONDS = 2.0
LEFT_POLLS = 3
"""A node that finds so often that the cluster does not know it any more, has left it."""
PREFERENCE_POLL_SECONDS = 0.1
PREFERENCE_POLLS = 20
PREFERENCE_PATIENCE_POLLS = 6
"""After so many the peers that are there are enough."""


class _Failure:
    """The first thing that went wrong beyond repair; setting it stops the node."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.happened = asyncio.Event()

    def set(self, what: str, error: BaseException) -> None:
        if self.reason is None:
            self.reason = f"{what}: {error}"
            _log.failure("node fails", error, what=what)
            self.happened.set()


async def run_node(settings: NodeSettings, stop: asyncio.Event) -> int:
    """Until ``stop`` is set or the node fails; the process's exit code.

    Raises BrokerError for what keeps it from starting: a locked, foreign or damaged data directory, a busy address.
    """
    logs.configure(logs.LogSettings(settings.log_level, settings.log_format), node=settings.node)
    for exposure in exposures(settings):
        _log.warning(exposure, clients=settings.client_listen, aws=settings.aws_listen)
    failure = _Failure()
    async with TaskScope("node", failure.set) as scope:
        node = Node(settings, scope, failure)
        try:
            await node.start()
        except OSError as error:
            await node.close()
            raise Unavailable(f"node {settings.node} cannot start: {error}") from error
        _log.info("node is up", clients=settings.client_listen, peers=settings.peer_listen, process=os.getpid())
        stopping = scope.start(stop.wait(), name="stop")
        failing = scope.start(failure.happened.wait(), name="failure")
        leaving = scope.start(node.until_left(), name="membership")
        await asyncio.wait([stopping, failing, leaving], return_when=asyncio.FIRST_COMPLETED)
        if failure.reason is None and stop.is_set():
            await node.drain()
        await node.close()
    reason = failure.reason or ("asked to" if stop.is_set() else LEFT)
    _log.info("node has stopped", reason=reason)
    return FAILED if failure.reason else 0


class Node:
    def __init__(self, settings: NodeSettings, scope: TaskScope, failure: _Failure) -> None:
        self._settings = settings
        self._scope = scope
        registry = Registry()
        trouble = Trouble()
        self._replicas = Replicas(settings, SystemClock(), scope, registry, failure.set, trouble)
        self._health = Health(self._replicas.groups, lambda: self._frontage.settled)
        self._frontage = Frontage(
            settings,
            self._replicas,
            scope,
            registry,
            failure.set,
            version("threefold"),
            trouble,
            self._health.trouble,
        )
        register(registry, self._replicas)

        async def metrics() -> tuple[int, str, bytes]:
            return 200, CONTENT_TYPE, await render(registry)

        host, port = split_address(settings.admin_listen, lowest_port=0)
        routes = {"/livez": self._health.livez, "/readyz": self._health.readyz, "/metrics": metrics}
        self._admin = AdminServer(AdminSettings(host=host, port=port), routes, scope)

    async def start(self) -> None:
        """Raises OSError for an address that cannot be bound."""
        await self._admin.start()
        await self._replicas.start()
        await self._frontage.start()
        self._scope.start(self._stand(), name="stand for preferred groups")
        # What start-up made stays; later collections need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def until_left(self) -> None:
        """Until the cluster does not know this node any more. What it could tell clients would be of the past."""
        seen = 0
        while seen < LEFT_POLLS:
            await asyncio.sleep(LEFT_POLL_SECONDS)
            seen = seen + 1 if self._replicas.left else 0

    async def drain(self) -> None:
        """Hand over, then let the calls under way end."""
        self._health.stop()
        try:
            handed_over = await self._frontage.hand_over(Millis(self._settings.drain_ms))
            _log.info("handed over", moved=handed_over.moved, kept=handed_over.kept)
        except BrokerError as error:
            _log.warning("not everything was handed over", reason=str(error))
        await self._frontage.stop()

    async def close(self) -> None:
        await self._frontage.close()
        await self._replicas.close()
        await self._admin.close()

    async def _stand(self) -> None:
        """As soon as all peers are here, or have had their time to come; again where they were not ready to vote."""
        others = len(self._replicas.known.nodes) - 1
        for poll in range(PREFERENCE_POLLS):
            all_here = len(self._replicas.groups.connected()) >= others
            may_stand = self._replicas.belongs and (all_here or poll >= PREFERENCE_PATIENCE_POLLS)
            if may_stand and not self._replicas.stand_for_preferred():
                return
            await asyncio.sleep(PREFERENCE_POLL_SECONDS)
