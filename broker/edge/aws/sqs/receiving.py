"""ReceiveMessage: short and long polls.

A long poll waits without taking anything and takes when there is something: a caller who hangs up while it waits leaves
nothing behind, and what was taken for one who hangs up meanwhile is given back at once.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from broker.base.errors import BrokerError
from broker.base.ids import id_text
from broker.base.instants import Millis
from broker.edge.aws.contract import Context, Operation
from broker.edge.aws.sqs import digests, message_attributes, numbers
from broker.edge.aws.sqs.errors import invalid_value, not_for_this_type, unknown_attribute
from broker.edge.aws.sqs.message_attributes import TRACE_HEADER
from broker.edge.aws.sqs.names import Names, QueueName
from broker.edge.aws.sqs.queue_attributes import KNOWN as QUEUE_ATTRIBUTES
from broker.edge.aws.sqs.sending import written
from broker.services.queues import QueueService
from broker.services.receiving import Received
from broker.services.request_ids import RequestIds

ALL = "All"
_SYSTEM = frozenset(
    {
        "SenderId",
        "SentTimestamp",
        "ApproximateReceiveCount",
        "ApproximateFirstReceiveTimestamp",
        "SequenceNumber",
        "MessageDeduplicationId",
        "MessageGroupId",
        TRACE_HEADER,
        "DeadLetterQueueSourceArn",
    }
)
_ATTEMPT = re.compile(r"[!-~]{1,128}")
_GIVE_BACK_TIME = Millis(5_000)


class _Taking:
    """Takes for one call, again and again; what it took for a caller who has hung up becomes visible again."""

    def __init__(
        self,
        queues: QueueService,
        request_ids: RequestIds,
        queue: QueueName,
        maximum: int,
        timeout: Millis | None,
        attempt: str,
    ) -> None:
        self._queues = queues
        self._request_ids = request_ids
        self._queue = queue.stored
        self._fifo = queue.fifo
        self._maximum = maximum
        self._timeout = timeout
        self._attempt = attempt

    async def take(self, deadline: Millis) -> list[Received]:
        if self._fifo:
            return await self._take_alone(deadline)
        answer = await self._queues.receive(self._queue, self._maximum, deadline, Millis(0), self._timeout)
        return answer.messages

    async def _take_alone(self, deadline: Millis) -> list[Received]:
        own = self._request_ids.take()
        queues, name = self._queues, self._queue
        nothing = Millis(0)
        try:
            answer = await queues.receive(name, self._maximum, deadline, nothing, self._timeout, own, self._attempt)
        except asyncio.CancelledError:
            soon = Millis(queues.clock.monotonic() + _GIVE_BACK_TIME)
            with suppress(BrokerError):  # the same again gives what that call took, if it did
                answer = await queues.receive(name, self._maximum, soon, nothing, self._timeout, own, self._attempt)
                if answer.messages:
                    await queues.give_back(name, [message.handle for message in answer.messages], soon)
            raise
        finally:
            self._request_ids.give_back(own)
        return answer.messages


class ReceivingMessages:
    def __init__(self, queues: QueueService, names: Names, request_ids: RequestIds) -> None:
        self._queues = queues
        self._names = names
        self._request_ids = request_ids

    def by_name(self) -> Mapping[str, Operation]:
        return {"ReceiveMessage": self.receive}

    async def receive(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        maximum = numbers.number(given, "MaxNumberOfMessages", 1, numbers.MAX_MESSAGES)
        timeout, wait = numbers.visibility_timeout(given), numbers.wait(given)
        system, wanted = _system_names(given), given.get("MessageAttributeNames") or ()
        attempt = _attempt(given, queue)
        taking = _Taking(self._queues, self._request_ids, queue, maximum, timeout, attempt)
        messages = await taking.take(context.deadline)
        if not messages and wait != 0:
            messages = await self._wait_and_take(taking, queue, wait, context)
        if not messages:
            return {}
        return {"Messages": [self._message(message, system, wanted, queue) for message in messages]}

    async def _wait_and_take(
        self, taking: _Taking, queue: QueueName, wait: Millis | None, context: Context
    ) -> list[Received]:
        queues, clock = self._queues, self._queues.clock
        began = clock.monotonic()
        if wait is None:
            wait = await queues.receive_wait(queue.stored, context.deadline)
        messages: list[Received] = []
        while not messages:
            remaining = Millis(began + wait - clock.monotonic())
            if remaining <= 0 or not await queues.wait_for_messages(queue.stored, remaining, context.deadline):
                break
            messages = await taking.take(context.deadline)
        return messages

    def _message(
        self, message: Received, system: Collection[str], wanted: Collection[str], queue: QueueName
    ) -> dict[str, Any]:
        body = message_attributes.presentable(message.body)
        origin = message.origin
        told: dict[str, Any] = {
            "MessageId": id_text(message.id if origin is None else origin.message),
            "ReceiptHandle": b64encode(message.handle).decode(),
            "MD5OfBody": digests.of_body(body.encode()),
            "Body": body,
        }
        if system:
            every = self._system_attributes(message, queue)
            attributes = every if ALL in system else {name: every[name] for name in system if name in every}
            if attributes:
                told["Attributes"] = attributes
        if wanted and message.attributes:
            chosen = message_attributes.chosen(message.attributes, wanted)
            if chosen:
                told["MessageAttributes"] = message_attributes.write(chosen)
                told["MD5OfMessageAttributes"] = digests.of_attributes(chosen)
        return told

    def _system_attributes(self, message: Received, queue: QueueName) -> dict[str, str]:
        """Of a message that was moved here, those that it had where it was sent, as SQS does."""
        origin = message.origin
        before = 0 if origin is None else origin.receive_count
        found = {
            "SenderId": queue.account,
            "SentTimestamp": str(message.sent_at if origin is None else origin.sent_at),
            "ApproximateReceiveCount": str(before + message.receive_count),
            "ApproximateFirstReceiveTimestamp": str(message.first_received_at),
        }
        if message.group:
            found["MessageGroupId"] = message.group
        if message.sequence_number:
            found["MessageDeduplicationId"] = message.deduplication
            found["SequenceNumber"] = written(message.sequence_number)
        if message.trace:
            found[TRACE_HEADER] = message.trace
        if origin is not None:
            found["DeadLetterQueueSourceArn"] = self._names.of_stored(origin.queue).arn
        return found


def _system_names(given: dict[str, Any]) -> Collection[str]:
    """Both members name them; the older one may name attributes of queues, too, which no message has."""
    given_names, older = given.get("MessageSystemAttributeNames"), given.get("AttributeNames")
    if not given_names and not older:
        return ()
    names = {*(given_names or ()), *(older or ())}
    for name in names:
        if name not in _SYSTEM and name != ALL and name not in QUEUE_ATTRIBUTES:
            raise unknown_attribute(name)
    return names


def _attempt(given: dict[str, Any], queue: QueueName) -> str:
    value: str | None = given.get("ReceiveRequestAttemptId")
    if not value:
        return ""
    if not queue.fifo:
        raise not_for_this_type(value, "ReceiveRequestAttemptId")
    if not _ATTEMPT.fullmatch(value):
        raise invalid_value(
            value,
            "ReceiveRequestAttemptId",
            "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.",
        )
    return value
