"""Calls between nodes: a use case that must run where the leader is. Request and reply ride in the control frames.

Delivery is at most once: a connection that ends fails the calls on it with Unavailable, outcome unknown. The far side
stops working on a call whose caller has gone. What a node works on for others is bounded: beyond it calls are refused,
and so are calls that find no room on their connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.errors import BrokerError, InvalidArgument, NotLeader, Overloaded, Refusal, Unavailable
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.base.limits import MIB
from broker.replication.frames import Call, CallReply, PeerFrame, Talk
from broker.replication.groups import CallHandler
from broker.telemetry import logs

_log = logs.get(__name__)


class Limits(msgspec.Struct, frozen=True):
    """Calls of other nodes that are worked on here at once: how many, and bytes of their payloads."""

    calls: int = 20_000
    size: int = 256 * MIB


class Calls:
    """``flush_soon`` asks the engine for a turn, which takes what has gathered by ``talk_to``."""

    def __init__(self, scope: TaskScope, flush_soon: Callable[[], None], limits: Limits) -> None:
        self._scope = scope
        self._flush_soon = flush_soon
        self._limits = limits
        self._count = 0
        self._size = 0
        self._handlers: dict[str, CallHandler] = {}
        self._ids = count(1)
        self._pending: dict[NodeId, dict[int, asyncio.Future[bytes]]] = {}
        self._working: dict[NodeId, dict[int, asyncio.Task[None]]] = {}
        self._talk: dict[NodeId, Talk] = {}

    def serve(self, method: str, handler: CallHandler) -> None:
        if method in self._handlers:
            raise RuntimeError(f"{method} has a handler already")
        self._handlers[method] = handler

    async def call(self, node: NodeId, method: str, payload: bytes, timeout: Millis) -> bytes:
        """The connection must exist. Raises what the handler raised, Unavailable, or TimeoutError."""
        number = next(self._ids)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending.setdefault(node, {})[number] = future
        self._talk_to(node).calls.append(Call(number, method, payload, timeout))
        try:
            async with asyncio.timeout(timeout / 1000):
                return await future
        finally:
            if self._pending.get(node, {}).pop(number, None) is not None and not _answered(future):
                self._talk_to(node).cancels.append(number)

    def take_talk(self) -> dict[NodeId, Talk]:
        talk, self._talk = self._talk, {}
        return talk

    def arrived(self, peer: NodeId, frame: PeerFrame) -> None:
        for call in frame.calls:
            self._begin(peer, call)
        for reply in frame.replies:
            future = self._pending.get(peer, {}).get(reply.id)
            if future is not None and not future.done():
                _resolve(future, reply)
        for number in frame.cancels:
            working = self._working.get(peer, {}).get(number)
            if working is not None:
                working.cancel()

    def peer_gone(self, peer: NodeId) -> None:
        for future in self._pending.pop(peer, {}).values():
            if not future.done():
                future.set_exception(
                    Unavailable(f"the connection to {peer} ended during the call; it may or may not have taken effect")
                )
        for task in self._working.pop(peer, {}).values():
            task.cancel()
        self._talk.pop(peer, None)

    def not_sent(self, peer: NodeId, talk: Talk) -> None:
        """The connection had no room for ``talk``. Callers here learn it; those over there when their time is up."""
        pending = self._pending.get(peer, {})
        for call in talk.calls:
            future = pending.get(call.id)
            if future is not None and not future.done():
                future.set_exception(
                    Overloaded(
                        f"the connection to {peer} takes no more bytes for now: {call.method} was not sent; nothing "
                        "happened, retry after a pause"
                    )
                )

    def _begin(self, peer: NodeId, call: Call) -> None:
        if call.id in self._working.get(peer, {}):
            return  # no node of ours uses a number twice, and whoever does must not lose hold of the first
        limits = self._limits
        if self._count >= limits.calls or (self._count and self._size + len(call.payload) > limits.size):
            refused = Overloaded(
                f"this node works on {self._count} calls with {self._size} bytes for other nodes, its limit is "
                f"{limits.calls} with {limits.size}; nothing happened, retry after a pause"
            )
            self._talk_to(peer).replies.append(CallReply(call.id, refusal=Refusal.of(refused)))
            return
        self._count += 1
        self._size += len(call.payload)
        task = self._scope.start(self._answer(peer, call), name=f"call {call.method}")
        self._working.setdefault(peer, {})[call.id] = task
        task.add_done_callback(lambda ended: self._ended(peer, call, ended))

    def _ended(self, peer: NodeId, call: Call, task: asyncio.Task[None]) -> None:
        self._count -= 1
        self._size -= len(call.payload)
        working = self._working.get(peer, {})
        if working.get(call.id) is task:  # after a restart the peer numbers its calls anew
            del working[call.id]

    def _talk_to(self, node: NodeId) -> Talk:
        talk = self._talk.get(node)
        if talk is None:
            talk = self._talk[node] = Talk()
        self._flush_soon()
        return talk

    async def _answer(self, peer: NodeId, call: Call) -> None:
        reply = await self._run(call)
        self._talk_to(peer).replies.append(reply)

    async def _run(self, call: Call) -> CallReply:
        handler = self._handlers.get(call.method)
        if handler is None:
            return CallReply(call.id, refusal=Refusal.of(InvalidArgument(f"this node has no method {call.method!r}")))
        try:
            async with asyncio.timeout(call.timeout / 1000):
                return CallReply(call.id, await handler(call.payload))
        except TimeoutError:
            return CallReply(call.id, refusal=Refusal("DeadlineExceeded", f"{call.method} took over {call.timeout} ms"))
        except NotLeader as error:
            return CallReply(call.id, refusal=Refusal.of(error), leader=error.leader)
        except BrokerError as error:
            return CallReply(call.id, refusal=Refusal.of(error))
        except Exception as error:  # the caller gets an answer, the operator the traceback, and the node goes on
            _log.failure("call failed", error, method=call.method)
            return CallReply(call.id, refusal=Refusal("Internal", f"{call.method} failed on that node; see its log"))


def _answered(future: asyncio.Future[bytes]) -> bool:
    return future.done() and not future.cancelled()


def _resolve(future: asyncio.Future[bytes], reply: CallReply) -> None:
    if reply.refusal is None:
        future.set_result(reply.payload)
    elif reply.refusal.code == NotLeader.code:
        future.set_exception(NotLeader(reply.refusal.message, reply.leader))
    else:
        future.set_exception(reply.refusal.to_error())
