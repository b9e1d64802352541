"""A cluster of gRPC servers on loopback that keeps queues in memory and can misbehave on command.

It honours the API's promises (a frame number of a session is stored once; a session's deliveries are repeated to a new
stream) and lets a test break everything else: kill a node, silence it, end streams, refuse frames.
"""
# ruff: noqa: N802  (the methods have the names of the API)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from broker.base.errors import (
    BrokerError,
    InvalidName,
    QueueNotFound,
    Unavailable,
)
from broker.pb.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from broker.pb.identity.v1 import identity_pb2_grpc
from broker.pb.queues.v1 import queues_pb2, queues_pb2_grpc
from tests.unit.client.fake_access_keys import FakeAccessKeys
from tests.unit.client.fake_consume import FakeConsumeStream
from tests.unit.client.fake_further_calls import FakeFurtherCalls
from tests.unit.client.fake_members import FakeMemberCalls, Members
from tests.unit.client.fake_queue import StoredQueue, attempt, info, store
from tests.unit.client.fake_refusal import refuse


class FakeCluster:
    """``leader`` is the address that Locate names for every queue; the other nodes answer everything else as well.
    ``leader_of_session``: unless empty, the queue is spread, and sessions are sent to these addresses."""

    def __init__(self) -> None:
        self.queues: dict[str, StoredQueue] = {}
        self.nodes: list[FakeNode] = []
        self.leader: str = ""
        self.leader_of_session: dict[bytes, str] = {}
        self.window = 8
        self.produce_requests: list[queues_pb2.ProduceRequest] = []
        self.consume_requests: list[queues_pb2.ConsumeRequest] = []
        self.calls: list[str] = []
        self.lose_acknowledgements = 0
        """So many frames are stored, and then the stream breaks instead of acknowledging."""
        self.lose_frames = 0
        """So many frames are dropped together with their stream."""
        self.refuse_frames: list[BrokerError] = []
        """Answers to the next frames, which are not stored."""
        self.refuse_calls: list[BrokerError] = []
        """Answers to the next unary calls of QueueService."""
        self.lose_settles = 0
        self.lose_deliveries = 0
        self.release = asyncio.Event()
        """While it is cleared, frames are stored but not acknowledged."""
        self.release.set()
        self.handed_over: list[str] = []
        self.members = Members()
        self.access_keys = FakeAccessKeys()
        self.located = 0

    @property
    def addresses(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def queue(self, name: str) -> StoredQueue:
        if name not in self.queues:
            raise QueueNotFound(f"there is no queue {name!r}")
        return self.queues[name]

    def create(self, name: str, **attributes: Any) -> StoredQueue:
        filled: dict[str, Any] = {"visibility_timeout_ms": 30_000, "delay_ms": 0, "retention_ms": 345_600_000}
        filled |= {"message_size_limit": 262_144, "receive_wait_ms": 0} | attributes
        self.queues[name] = StoredQueue(queues_pb2.QueueAttributes(**filled), fifo=name.endswith(".fifo"))
        return self.queues[name]

    def bodies(self, name: str) -> list[bytes]:
        return [message.body for message in self.queues[name].stored]

    def node_at(self, address: str) -> FakeNode:
        return next(node for node in self.nodes if node.address == address)


class FakeNode(
    FakeFurtherCalls,
    FakeMemberCalls,
    queues_pb2_grpc.QueueServiceServicer,
    cluster_pb2_grpc.ClusterServiceServicer,
    health_pb2_grpc.HealthServicer,
):
    def __init__(self, cluster: FakeCluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.address = ""
        self.speaks = asyncio.Event()
        """While it is cleared, the node accepts calls and says nothing."""
        self.speaks.set()
        self.delivers = asyncio.Event()
        """While it is cleared, receives wait, as long polls do."""
        self.delivers.set()
        self.receives: list[queues_pb2.RequestId] = []
        """Of those that began."""
        self.checks = 0
        self.streams: set[asyncio.Task[Any]] = set()
        self.opened = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        server = self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        queues_pb2_grpc.add_QueueServiceServicer_to_server(self, server)
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(self, server)
        identity_pb2_grpc.add_AccessKeyServiceServicer_to_server(self.cluster.access_keys, server)
        health_pb2_grpc.add_HealthServicer_to_server(self, server)
        port = server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        await server.start()

    async def kill(self) -> None:
        self.speaks.set()
        assert self._server is not None
        await self._server.stop(None)

    def end_streams(self) -> None:
        for stream in self.streams:
            stream.cancel()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        self.checks += 1
        await self.speaks.wait()
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    # --- ClusterService

    async def Locate(self, request: cluster_pb2.LocateRequest, context: Any) -> cluster_pb2.LocateResponse:
        await self.speaks.wait()
        self.cluster.located += 1
        try:
            self.cluster.queue(request.name)
        except QueueNotFound as error:
            await refuse(context, error)
        if not self.cluster.leader:
            await refuse(context, Unavailable("no leader is known"))
        leader = self.cluster.leader_of_session.get(request.session, self.cluster.leader)
        spread = bool(self.cluster.leader_of_session)
        return cluster_pb2.LocateResponse(group=7, node="a-0", client_address=leader, spread=spread)

    async def GetStatus(self, request: cluster_pb2.GetStatusRequest, context: Any) -> cluster_pb2.GetStatusResponse:
        await self.speaks.wait()
        members = self.cluster.members
        nodes = [
            cluster_pb2.Node(
                id=node.name,
                zone=node.name[0],
                client_address=node.address,
                admin_address="127.0.0.1:1",
                reachable=True,
                version="0.1.0",
                uptime_ms=61_000,
                leads=int(node.address == self.cluster.leader),
                duty=members.duties.get(node.name, ""),
                replicas=members.replicas(node.name),
                trouble=members.trouble.get(node.name, ()),
            )
            for node in self.cluster.nodes
            if node.name not in members.gone
        ]
        replicas = [cluster_pb2.Replica(node=node.name, matched=10, lag=0) for node in self.cluster.nodes]
        change = members.change()
        groups = [
            cluster_pb2.Group(
                id=7 + number,
                leader=members.leader,
                term=3,
                commit=10,
                last=10,
                replicas=replicas,
                resources=1,
                change=change,
            )
            for number in range(members.groups)
        ]
        return cluster_pb2.GetStatusResponse(cluster="fake", answered_by=self.name, nodes=nodes, groups=groups)

    async def HandOver(self, request: cluster_pb2.HandOverRequest, context: Any) -> cluster_pb2.HandOverResponse:
        self.cluster.handed_over.append(self.name)
        return cluster_pb2.HandOverResponse(handed_over=4, kept=0)

    # --- QueueService, unary

    async def _begin(self, call: str, context: Any) -> None:
        await self.speaks.wait()
        self.cluster.calls.append(call)
        if self.cluster.refuse_calls:
            await refuse(context, self.cluster.refuse_calls.pop(0))

    async def _queue(self, name: str, context: Any) -> StoredQueue:
        try:
            return self.cluster.queue(name)
        except QueueNotFound as error:
            await refuse(context, error)
            raise

    async def CreateQueue(self, request: Any, context: Any) -> queues_pb2.CreateQueueResponse:
        await self._begin("CreateQueue", context)
        if not request.name.removesuffix(".fifo").replace("-", "").isalnum():
            await refuse(context, InvalidName(f"queue name {request.name!r} has a character that is not allowed"))
        created = request.name not in self.cluster.queues
        if created:
            given = {field.name: value for field, value in request.attributes.ListFields()}
            self.cluster.create(request.name, **given)
        return queues_pb2.CreateQueueResponse(created=created)

    async def UpdateQueue(self, request: Any, context: Any) -> queues_pb2.UpdateQueueResponse:
        await self._begin("UpdateQueue", context)
        attributes = (await self._queue(request.name, context)).attributes
        attributes.MergeFrom(request.attributes)
        if request.remove_redrive:
            attributes.ClearField("redrive")
        return queues_pb2.UpdateQueueResponse()

    async def DeleteQueue(self, request: Any, context: Any) -> queues_pb2.DeleteQueueResponse:
        await self._begin("DeleteQueue", context)
        await self._queue(request.name, context)
        del self.cluster.queues[request.name]
        return queues_pb2.DeleteQueueResponse()

    async def ListQueues(self, request: Any, context: Any) -> queues_pb2.ListQueuesResponse:
        await self._begin("ListQueues", context)
        names = [name for name in sorted(self.cluster.queues) if name.startswith(request.prefix)]
        after = [name for name in names if name > request.page_token]
        page, rest = after[:2], after[2:]
        return queues_pb2.ListQueuesResponse(names=page, next_page_token=page[-1] if rest else "")

    async def DescribeQueue(self, request: Any, context: Any) -> queues_pb2.DescribeQueueResponse:
        await self._begin("DescribeQueue", context)
        queue = await self._queue(request.name, context)
        counts = queues_pb2.QueueCounts(
            visible=len(queue.visible),
            in_flight=len(queue.in_flight),
            delayed=len(queue.scheduled),
            sent_total=len(queue.stored),
            deleted_total=len(queue.deleted),
            oldest_age_ms=1_500 if queue.visible else None,
        )
        description = queues_pb2.QueueDescription(
            name=request.name,
            attributes=queue.attributes,
            counts=counts,
            created_at=1_700_000_000_000,
            group=7,
            leader="a-0",
            groups=[7],
            redrive_target=queue.attributes.redrive.target,
            redrive_suspended_until=queue.suspended_until,
        )
        return queues_pb2.DescribeQueueResponse(queue=description)

    async def PurgeQueue(self, request: Any, context: Any) -> queues_pb2.PurgeQueueResponse:
        await self._begin("PurgeQueue", context)
        (await self._queue(request.name, context)).visible.clear()
        return queues_pb2.PurgeQueueResponse()

    async def Receive(self, request: Any, context: Any) -> queues_pb2.ReceiveResponse:
        self.receives.append(request.request_id)
        await self._begin("Receive", context)
        await self.delivers.wait()
        queue = await self._queue(request.queue, context)
        return queues_pb2.ReceiveResponse(messages=queue.receive(max(1, request.max_messages)))

    async def Delete(self, request: Any, context: Any) -> queues_pb2.DeleteResponse:
        await self._begin("Delete", context)
        queue = await self._queue(request.queue, context)
        return queues_pb2.DeleteResponse(failed=attempt([(queue.delete, handle) for handle in request.receipt_handles]))

    async def ChangeVisibility(self, request: Any, context: Any) -> queues_pb2.ChangeVisibilityResponse:
        await self._begin("ChangeVisibility", context)
        queue = await self._queue(request.queue, context)
        actions = [(queue.change, found.receipt_handle, found.visibility_timeout_ms) for found in request.changes]
        return queues_pb2.ChangeVisibilityResponse(failed=attempt(actions))

    # --- QueueService, streams

    async def Produce(self, request_iterator: Any, context: Any) -> AsyncIterator[queues_pb2.ProduceResponse]:
        with self._counted():
            cluster = self.cluster
            await self.speaks.wait()
            opening = (await context.read()).open
            queue = await self._queue(opening.queue, context)
            await context.write(queues_pb2.ProduceResponse(window=1 if queue.fifo else cluster.window))
            self.opened.set()
            while (request := await context.read()) is not grpc.aio.EOF:
                await self.speaks.wait()
                cluster.produce_requests.append(request)
                if cluster.lose_frames:
                    cluster.lose_frames -= 1
                    await refuse(context, Unavailable("the stream broke"))
                if cluster.refuse_frames:
                    error = cluster.refuse_frames.pop(0)
                    await context.write(queues_pb2.ProduceResponse(frame=request.frame, error=info(error)))
                    continue
                key = (opening.session, request.frame)
                if key not in queue.frames:
                    queue.frames[key] = store(queue, request)
                    async with queue.changed:
                        queue.changed.notify_all()
                if cluster.lose_acknowledgements:
                    cluster.lose_acknowledgements -= 1
                    await refuse(context, Unavailable("the stream broke"))
                await cluster.release.wait()
                await context.write(queue.frames[key])

    async def Consume(self, request_iterator: Any, context: Any) -> None:
        with self._counted():
            await self.speaks.wait()
            first = await context.read()
            queue = await self._queue(first.open.queue, context)
            self.cluster.consume_requests.append(first)
            self.opened.set()
            stream = FakeConsumeStream(self.cluster, self.speaks, queue, first.open, context)
            await stream.run(first.credit)

    @staticmethod
    def _task() -> asyncio.Task[Any]:
        task = asyncio.current_task()
        assert task is not None
        return task

    def _counted(self) -> Any:
        return _Counted(self.streams, self._task())


class _Counted:
    def __init__(self, streams: set[asyncio.Task[Any]], task: asyncio.Task[Any]) -> None:
        self._streams = streams
        self._task = task

    def __enter__(self) -> None:
        self._streams.add(self._task)

    def __exit__(self, *_: object) -> None:
        self._streams.discard(self._task)


@asynccontextmanager
async def running(nodes: int = 1) -> AsyncIterator[FakeCluster]:
    """The first node leads."""
    cluster = FakeCluster()
    for name in _names(nodes):
        node = FakeNode(cluster, name)
        await node.start()
        cluster.nodes.append(node)
    cluster.leader = cluster.nodes[0].address
    try:
        yield cluster
    finally:
        cluster.release.set()
        for node in cluster.nodes:
            await node.kill()


async def until(holds: Callable[[], bool]) -> None:
    """Lets everything else run until it is so. Raises TimeoutError when it never comes to be."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event, and any turn may bring it
            await asyncio.sleep(0)


async def settle_down() -> None:
    """Lets everything that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


def _names(count: int) -> Iterator[str]:
    return (f"{chr(ord('a') + number)}-0" for number in range(count))
