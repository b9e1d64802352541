"""Runs one cell: clients at work, a fault that comes and goes, the cluster whole again, the queue drained, judged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from broker.base.errors import BrokerError
from broker.client.client import Client
from loadtest.cluster import ClusterError
from loadtest.faults import workloads
from loadtest.faults.history import History
from loadtest.faults.network import NetworkError
from loadtest.faults.outcome import Outcome, instant_of, timeline_of
from loadtest.faults.scene import Fault, Scene
from loadtest.faults.traffic import Plan
from loadtest.faults.verdict import BEGUN, ENDED, STOPPED, WHOLE, Terms, judge
from loadtest.faults.zones import ZonedCluster

BEFORE_SECONDS = 3.0
AFTER_SECONDS = 2.0
SCRIPT_SECONDS = 150.0
WHOLE_SECONDS = 60.0
DRAIN_SECONDS = 60.0
_TIDY_SECONDS = 5.0
_PART_SECONDS = 3.0

Say = Callable[[str], None]


class CellRun:
    def __init__(self, cluster: ZonedCluster, fault: Fault, plan: Plan, number: int, say: Say) -> None:
        self._cluster = cluster
        self._fault = fault
        self._plan = plan
        self._say = say
        self.history = History(time.monotonic)
        self._workload = workloads.make(plan, number, self.history)
        self._trouble = ""
        self._lacked = "not asked"
        self._drained = False

    async def run(self) -> Outcome:
        """Raises BrokerError when the cluster does not even take a queue before the fault."""
        began = time.monotonic()
        logged = self._logged()
        async with contextlib.AsyncExitStack() as clients:
            sending, receiving, operator = [
                await clients.enter_async_context(parting(Client(self._cluster.addresses))) for _ in range(3)
            ]
            scene = Scene(self._cluster, operator, self._workload, self._say)
            self._say("making queues")
            await self._workload.prepare(operator)
            working = asyncio.ensure_future(self._workload.run(sending, receiving))
            try:
                await self._perform(scene, working)
            finally:
                working.cancel()
                await asyncio.wait([working])
            await self._tidy(operator)
        self._look_for_tracebacks(scene, logged)
        return self._outcome(scene, time.monotonic() - began)

    async def _perform(self, scene: Scene, working: asyncio.Future[None]) -> None:
        await asyncio.sleep(BEFORE_SECONDS)
        self._say(self._fault.what)
        self.history.mark(BEGUN)
        try:
            async with asyncio.timeout(SCRIPT_SECONDS):
                await self._fault.script(scene)
        except (BrokerError, ClusterError, NetworkError) as error:
            self._trouble = str(error)
        except TimeoutError:
            self._trouble = f"the fault was not over after {SCRIPT_SECONDS:g} s"
        self.history.mark(ENDED)
        self._say("waiting until the cluster is whole")
        self._lacked = await scene.whole(WHOLE_SECONDS)
        if not self._lacked:
            self.history.mark(WHOLE)
        await asyncio.sleep(AFTER_SECONDS)
        self._workload.stop_sending()
        self.history.mark(STOPPED)
        self._say("draining")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._workload.drained(scene.client)
                self._drained = True
        failure = working.exception() if working.done() else None
        if failure is not None:
            scene.doubt(f"the clients failed: {failure!r}")

    async def _tidy(self, client: Client) -> None:
        """The next cell on this cluster is not to find this one's queues."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(_TIDY_SECONDS):
                for queue in reversed(self._workload.queues):
                    await client.delete_queue(queue)

    def _logged(self) -> dict[str, int]:
        return {name: node.log.stat().st_size for name, node in self._cluster.nodes.items() if node.log.exists()}

    def _look_for_tracebacks(self, scene: Scene, logged: dict[str, int]) -> None:
        for name, node in self._cluster.nodes.items():
            text = node.log.read_bytes()[logged.get(name, 0) :]
            count = text.count(b"Traceback (most recent call last)")
            if count:
                scene.doubt(f"node {name} logged {count} tracebacks")

    def _outcome(self, scene: Scene, seconds: float) -> Outcome:
        plan, marks = self._plan, self.history.marks
        ended, whole = instant_of(ENDED, marks), instant_of(WHOLE, marks)
        return Outcome(
            fault=self._fault.name,
            workload=plan.name,
            verdict=judge(
                self.history, Terms(plan.visibility, plan.delay, plan.fifo, plan.moves), drained=self._drained
            ),
            timeline=timeline_of(self.history),
            whole_after=None if ended is None or whole is None else whole - ended,
            lacked=self._lacked,
            notes=tuple(scene.notes),
            doubts=tuple(scene.doubts),
            trouble=self._trouble,
            drained=self._drained,
            seconds=seconds,
        )


@contextlib.asynccontextmanager
async def parting(client: Client) -> AsyncIterator[Client]:
    """A client that is left behind after a while, whatever it still waits for: its cluster may be gone for good."""
    async with contextlib.AsyncExitStack() as stack:
        entered = await client.__aenter__()
        stack.push_async_callback(client.close, _PART_SECONDS)
        yield entered


def encoded(history: History) -> bytes:
    """All of it as JSON, for whoever looks into a cell that went wrong."""
    return msgspec.json.encode(
        {
            "sent": [[*key, at] for key, at in history.sent.items()],
            "stored": history.stored,
            "deliveries": history.deliveries,
            "unsure": sorted(history.unsure),
            "refused": sorted(history.refused),
            "asked to delete": [[*key, at] for key, at in history.asked_to_delete.items()],
            "deleted": [[*key, at] for key, at in history.deleted.items()],
            "given back": history.given_back,
            "errors": history.errors,
            "marks": history.marks,
        }
    )
