"""Runs cells: clients at work, a fault that comes and goes, the cluster whole again, the queue drained, judged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

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


class Share:
    """One workload of a run, and what becomes of it."""

    def __init__(self, plan: Plan, number: int, aws_addresses: Sequence[str]) -> None:
        self.plan = plan
        self.history = History(time.monotonic)
        self.workload = workloads.make(plan, number, self.history, aws_addresses)
        self.drained = False

    async def drain(self, client: Client) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.workload.drained(client)
                self.drained = True


class CellRun:
    """One cell, or several of one fault at once: their workloads side by side. Faults of "the leader" mean that of the
    first workload's first queue."""

    def __init__(self, cluster: ZonedCluster, fault: Fault, plans: Sequence[Plan], number: int, say: Say) -> None:
        self._cluster = cluster
        self._fault = fault
        self._say = say
        self.shares = [Share(plan, number, cluster.aws_addresses) for plan in plans]
        self._trouble = ""
        self._lacked = "not asked"

    async def run(self) -> list[Outcome]:
        """Raises BrokerError when the cluster does not even take a queue before the fault."""
        began = time.monotonic()
        logged = self._logged()
        async with contextlib.AsyncExitStack() as clients:
            sending, receiving, operator = [
                await clients.enter_async_context(parting(Client(self._cluster.addresses))) for _ in range(3)
            ]
            scene = Scene(self._cluster, operator, self.shares[0].workload, self._say)
            self._say("making queues")
            first, *others = [share.workload for share in self.shares]
            await first.prepare(operator, None)
            for other in others:
                await other.prepare(operator, first.queues[0])
            working = [asyncio.ensure_future(share.workload.run(sending, receiving)) for share in self.shares]
            try:
                await self._perform(scene, working)
            finally:
                for each in working:
                    each.cancel()
                await asyncio.wait(working)
            await self._tidy(operator)
        self._look_for_tracebacks(scene, logged)
        return [self._outcome(scene, share, time.monotonic() - began) for share in self.shares]

    async def _perform(self, scene: Scene, working: Sequence[asyncio.Future[None]]) -> None:
        await asyncio.sleep(BEFORE_SECONDS)
        self._say(self._fault.what)
        self._mark(BEGUN)
        try:
            async with asyncio.timeout(SCRIPT_SECONDS):
                await self._fault.script(scene)
        except (BrokerError, ClusterError, NetworkError) as error:
            self._trouble = str(error)
        except TimeoutError:
            self._trouble = f"the fault was not over after {SCRIPT_SECONDS:g} s"
        self._mark(ENDED)
        self._say("waiting until the cluster is whole")
        self._lacked = await scene.whole(WHOLE_SECONDS)
        if not self._lacked:
            self._mark(WHOLE)
        await asyncio.sleep(AFTER_SECONDS)
        for share in self.shares:
            share.workload.stop_sending()
        self._mark(STOPPED)
        self._say("draining")
        async with asyncio.TaskGroup() as group:
            for share in self.shares:
                group.create_task(share.drain(scene.client))
        for each in working:
            failure = each.exception() if each.done() else None
            if failure is not None:
                scene.doubt(f"the clients failed: {failure!r}")

    def _mark(self, what: str) -> None:
        for share in self.shares:
            share.history.mark(what)

    async def _tidy(self, client: Client) -> None:
        """The next cell on this cluster is not to find this one's queues."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(_TIDY_SECONDS):
                for share in self.shares:
                    for queue in reversed(share.workload.queues):
                        await client.delete_queue(queue)

    def _logged(self) -> dict[str, int]:
        return {name: node.log.stat().st_size for name, node in self._cluster.nodes.items() if node.log.exists()}

    def _look_for_tracebacks(self, scene: Scene, logged: dict[str, int]) -> None:
        for name, node in self._cluster.nodes.items():
            text = node.log.read_bytes()[logged.get(name, 0) :]
            count = text.count(b"Traceback (most recent call last)")
            if count:
                scene.doubt(f"node {name} logged {count} tracebacks")

    def _outcome(self, scene: Scene, share: Share, seconds: float) -> Outcome:
        plan, history = share.plan, share.history
        ended, whole = instant_of(ENDED, history.marks), instant_of(WHOLE, history.marks)
        return Outcome(
            fault=self._fault.name,
            workload=plan.name,
            verdict=judge(history, Terms(plan.visibility, plan.delay, plan.fifo, plan.moves), drained=share.drained),
            timeline=timeline_of(history),
            whole_after=None if ended is None or whole is None else whole - ended,
            lacked=self._lacked,
            notes=tuple(scene.notes),
            doubts=tuple(scene.doubts),
            trouble=self._trouble,
            drained=share.drained,
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
