"""Finds the node to send a queue's calls to, and finds the new one fast when a leader is lost.

Every known node is asked at once and the first sound answer wins. A node that just broke off or fell silent is
*suspect*: the others may still believe that it leads, so their word is not taken until the node itself answers.
"""

from __future__ import annotations

import asyncio

import grpc.aio

from broker.base.errors import BrokerError, Unavailable
from broker.client.channels import Channels, Endpoint
from broker.client.errors import NoAnswer, NobodyAnswers, of_call
from broker.client.retrying import FAILOVER, Backoff, Chance, Retry
from broker.pb.cluster.v1 import cluster_pb2

ASK_TIMEOUT = 0.5
"""Seconds for one Locate: long enough for a node to wait for an election it knows is on, short enough to ask again."""


class Locator:
    def __init__(self, channels: Channels, chance: Chance, backoff: Backoff = FAILOVER, patience: float = 2.0) -> None:
        """``patience``: seconds after which a client that no node has ever answered gives up."""
        self._channels = channels
        self._chance = chance
        self._backoff = backoff
        self._patience = patience
        self._known: dict[str, Endpoint] = {}
        self._spread: set[str] = set()
        """Queues of which every session has a node of its own."""
        self._trouble: dict[str, BrokerError] = {}

    def trouble(self, queue: str) -> BrokerError | None:
        """Why the queue's leader is not known at present; None when it is, or was not looked for."""
        return self._trouble.get(queue)

    def known(self, queue: str) -> Endpoint | None:
        """The node last heard to lead the queue's group."""
        return self._known.get(queue)

    def forget(self, queue: str) -> None:
        """The node said it does not lead, or could not serve; ask again next time."""
        self._known.pop(queue, None)

    def failed(self, endpoint: Endpoint) -> None:
        """The node broke off or fell silent: trust nobody's word about it but its own."""
        endpoint.suspect = True
        for queue in [queue for queue, known in self._known.items() if known is endpoint]:
            del self._known[queue]

    async def locate(self, queue: str, deadline: float, session: bytes = b"") -> Endpoint:
        """The queue's leader, or of a queue with several the one for streams of ``session``. ``deadline`` in seconds
        of the event loop's clock.

        Raises QueueNotFound; Unavailable when nobody knows a leader until the deadline, or no node ever answered.
        """
        known = self._known.get(queue)
        if known is not None and not (session and queue in self._spread):
            return known
        loop = asyncio.get_running_loop()
        started = loop.time()
        retry = Retry(self._backoff, self._chance, deadline)
        while True:
            try:
                endpoint = await self.ask(queue, session)
            except BrokerError as error:
                self._trouble[queue] = error
                if loop.time() - started > self._patience and not self._channels.ever_answered:
                    raise NobodyAnswers(self._channels.addresses) from None
                pause = retry.after(error, loop.time())
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                if not (session and queue in self._spread):
                    self._known[queue] = endpoint
                self._trouble.pop(queue, None)
                return endpoint

    async def moved(self, queue: str, endpoint: Endpoint, session: bytes = b"") -> bool:
        """Whether the node at the other end of a stream says that another one leads by now."""
        request = cluster_pb2.LocateRequest(kind="queue", name=queue, session=session)
        try:
            response = await endpoint.cluster.Locate(request, timeout=ASK_TIMEOUT)
        except grpc.aio.AioRpcError:
            return False  # the stream itself shows whether the node is there
        return self._channels.at(response.client_address) is not endpoint

    async def ask(self, queue: str, session: bytes = b"") -> Endpoint:
        """Ask all nodes once. Raises the most telling of their errors when none names a leader to be believed."""
        request = cluster_pb2.LocateRequest(kind="queue", name=queue, session=session)
        answers: asyncio.Queue[grpc.aio.UnaryUnaryCall[cluster_pb2.LocateRequest, cluster_pb2.LocateResponse]]
        answers = asyncio.Queue()
        calls = {node.cluster.Locate(request, timeout=ASK_TIMEOUT): node for node in self._channels.endpoints}
        for call in calls:
            call.add_done_callback(answers.put_nowait)
        errors: list[BrokerError] = []
        try:
            for _ in calls:
                call = await answers.get()
                answering = calls[call]
                try:
                    response = await call
                except grpc.aio.AioRpcError as error:
                    errors.append(of_call(error, answering.address))
                    self._channels.ever_answered |= not isinstance(errors[-1], NoAnswer)
                    continue
                self._channels.answered(answering)
                if response.spread:
                    self._spread.add(queue)
                else:
                    self._spread.discard(queue)
                named = self._channels.at(response.client_address)
                if not named.suspect:
                    return named
                errors.append(
                    Unavailable(f"{answering.address} says that {named.address} leads, which does not answer")
                )
        finally:
            for call in calls:
                call.cancel()
        raise min(errors, key=_how_telling)


def _how_telling(error: BrokerError) -> int:
    """A refusal says more than "no leader yet", and that says more than silence."""
    if not error.retryable:
        return 0
    return 2 if isinstance(error, NoAnswer) else 1
