"""The policies of queues, read and kept for a few seconds: asking the queue's leader for each request would double what
a request costs.

What is kept was true at some instant of the last STALENESS. One question at a time is under way for a queue, however
many wait for its answer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from broker.base.errors import BrokerError, DeadlineExceeded, InvalidArgument, InvalidName, Overloaded, QueueNotFound
from broker.base.instants import SECOND, Millis
from broker.domain.policies.documents import parse
from broker.domain.policies.policy import Policy
from broker.edge.aws.sqs.policy_documents import ATTRIBUTE
from broker.services.queues import QueueService
from broker.telemetry import logs

STALENESS = Millis(5 * SECOND)
"""For so long a policy that was changed through another node may count here. AWS needs up to a minute."""
MAX_KEPT = 10_000
MAX_MISSING = 1_000
"""Names that no queue has are remembered apart: who makes names up must not drive out what is known of queues."""
MAX_ASKED = 64
"""Questions under way at once beyond which none is begun for who is not of the queue's account, for the same reason."""

_log = logs.get(__name__)


class Known(msgspec.Struct, frozen=True):
    """``policy``: None when the queue has none, or ``missing``: there is no such queue. ``asked_at``: of the monotonic
    clock."""

    policy: Policy | None
    missing: bool
    asked_at: Millis


Answer = asyncio.Future[Known | BrokerError | None]
"""None: who asked has gone, without an answer."""


class QueuePolicies:
    """Queues are called by the names under which they are stored."""

    def __init__(self, queues: QueueService) -> None:
        self._queues = queues
        self._kept: OrderedDict[str, Known] = OrderedDict()
        self._missing: OrderedDict[str, Known] = OrderedDict()
        self._asking: dict[str, Answer] = {}

    def kept(self, queue: str) -> Known | None:
        """What needs no question; None when it would have to be asked."""
        known = self._kept.get(queue) or self._missing.get(queue)
        if known is None or self._queues.clock.monotonic() - known.asked_at >= STALENESS:
            return None
        return known

    async def of(self, queue: str, deadline: Millis, is_owner: bool) -> Policy | None:
        """``is_owner``: who wants to know is of the queue's account. Raises BrokerError when nobody can say."""
        while (known := self.kept(queue)) is None:
            asking = self._asking.get(queue)
            if asking is None:
                if not is_owner and len(self._asking) >= MAX_ASKED:
                    raise Overloaded("too many policies of queues are being read at once: retry")
                return await self._ask(queue, deadline)
            remaining = deadline - self._queues.clock.monotonic()
            await asyncio.wait([asking], timeout=max(remaining, 0) / SECOND)
            if not asking.done():
                raise DeadlineExceeded("the policy of the queue could not be read in time: retry")
            answer = asking.result()
            if isinstance(answer, BrokerError):
                raise answer
            if answer is not None:
                return answer.policy
        return known.policy

    def forget(self, queue: str) -> None:
        """It may have changed. What is being asked was perhaps asked before that, and is not kept."""
        self._kept.pop(queue, None)
        self._missing.pop(queue, None)
        self._asking.pop(queue, None)

    async def _ask(self, queue: str, deadline: Millis) -> Policy | None:
        mine: Answer = asyncio.get_running_loop().create_future()
        self._asking[queue] = mine
        answer: Known | BrokerError | None = None
        asked_at = self._queues.clock.monotonic()
        try:
            answer = await self._read(queue, deadline, asked_at)
        except BrokerError as error:
            answer = error
            raise
        finally:
            mine.set_result(answer)
            if self._asking.get(queue) is mine:
                del self._asking[queue]
                if isinstance(answer, Known):
                    self._keep(queue, answer)
        return answer.policy

    async def _read(self, queue: str, deadline: Millis, asked_at: Millis) -> Known:
        try:
            found = await self._queues.describe(queue, deadline)
        except (QueueNotFound, InvalidName):
            return Known(None, True, asked_at)
        text = dict(found.queue.attributes.kept).get(ATTRIBUTE)
        return Known(None if text is None else _readable(queue, text), False, asked_at)

    def _keep(self, queue: str, known: Known) -> None:
        self._kept.pop(queue, None)
        self._missing.pop(queue, None)
        keeping, most = (self._missing, MAX_MISSING) if known.missing else (self._kept, MAX_KEPT)
        keeping[queue] = known
        if len(keeping) > most:
            keeping.popitem(last=False)


def _readable(queue: str, text: str) -> Policy | None:
    try:
        return parse(text)
    except InvalidArgument as error:  # of a time before policies were checked: it lets nobody in
        _log.warning("the policy of a queue cannot be read", queue=queue, reason=str(error))
        return None
