"""SendMessage and SendMessageBatch.

Nearly all messages are a body and nothing else, for a standard queue, so that way is short. What depends on the queue
is judged by its leader and told here in SQS's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.base import errors
from broker.base.errors import Refusal
from broker.base.limits import TRACE_MAX_LENGTH
from broker.domain.queues.model import Attribute, Message
from broker.edge.aws.contract import AwsError, Context, Operation
from broker.edge.aws.sqs import batches, digests, message_attributes, numbers
from broker.edge.aws.sqs.errors import (
    batch_too_long,
    invalid_contents,
    invalid_parameter,
    invalid_value,
    missing_parameter,
    not_for_this_type,
    of_refusal,
    to_aws,
    too_long,
)
from broker.edge.aws.sqs.names import Names, QueueName
from broker.services.outgoing import Outgoing, OutgoingMessage, pack, pack_bodies
from broker.services.queues import QueueService
from broker.services.sent import SendResult

_IDENTIFIER = re.compile(r"[!-~]{1,128}")
_PLAIN = frozenset({"Id", "QueueUrl", "MessageBody"})


class Sending:
    def __init__(self, queues: QueueService, names: Names) -> None:
        self._queues = queues
        self._names = names

    def by_name(self) -> Mapping[str, Operation]:
        return {"SendMessage": self.send, "SendMessageBatch": self.send_batch}

    async def send(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        message = _read(given, queue)
        if queue.fifo and not message.group:
            raise missing_parameter("MessageGroupId")
        result = await self._queues.send(queue.stored, _packed([message], [given], queue), context.deadline)
        if result.refused:
            raise await self._told(result.refused[0][1], context, queue)
        number = result.sequence_numbers()[0] if result.fifo else 0
        return _sent(message.message, result.id_texts()[0], number)

    async def send_batch(self, context: Context, given: dict[str, Any]) -> dict[str, Any]:
        queue = self._names.of_url(given["QueueUrl"], context.caller)
        entries = batches.entries_of(given, "SendMessageBatchRequestEntry")
        good: list[dict[str, Any]] = []
        messages: list[OutgoingMessage] = []
        failures: list[dict[str, Any]] = []
        total = 0
        for entry in entries:
            if queue.fifo and "MessageGroupId" not in entry:
                raise invalid_parameter(missing_parameter("MessageGroupId").message)  # of the whole batch
            try:
                message = _read(entry, queue)
            except AwsError as error:
                failures.append(batches.failed(entry, error))
            else:
                good.append(entry)
                messages.append(message)
                total += message.message.size()
        if total > batches.MAX_BYTES:
            raise batch_too_long(batches.MAX_BYTES, total)
        answer: dict[str, Any] = {"Successful": [], "Failed": failures}
        if good:
            outgoing = _packed(messages, good, queue)
            result = await self._queues.send(queue.stored, outgoing, context.deadline)
            await self._answer(answer, zip(good, messages, strict=True), result, context, queue)
        else:
            await self._queues.must_exist(queue.stored, context.deadline)
        return answer

    async def _answer(
        self,
        answer: dict[str, Any],
        good: Iterable[tuple[dict[str, Any], OutgoingMessage]],
        result: SendResult,
        context: Context,
        queue: QueueName,
    ) -> None:
        refused = dict(result.refused)
        ids, numbers_ = result.id_texts(), result.sequence_numbers()
        for place, (entry, message) in enumerate(good):
            refusal = refused.get(place)
            if refusal is None:
                sent = _sent(message.message, ids[place], numbers_[place] if numbers_ else 0)
                answer["Successful"].append({"Id": entry["Id"], **sent})
                continue
            error = await self._told(refusal, context, queue)
            if refusal.code == errors.DeduplicationIdRequired.code and not result.accepted:
                raise error  # of the whole batch
            answer["Failed"].append(batches.failed(entry, error))

    async def _told(self, refusal: Refusal, context: Context, queue: QueueName) -> AwsError:
        if refusal.code != errors.MessageTooLong.code:
            return of_refusal(refusal, context, queue)
        try:
            found = await self._queues.describe(queue.stored, context.deadline)
        except errors.BrokerError as error:
            return to_aws(error, context, queue)
        return too_long(found.queue.attributes.message_size_limit)


def _read(given: dict[str, Any], queue: QueueName) -> OutgoingMessage:
    """Raises AwsError."""
    body: str = given["MessageBody"]
    if not body:
        raise missing_parameter("MessageBody")
    if message_attributes.has_forbidden(body):
        raise invalid_contents()
    raw = body.encode()
    if given.keys() <= _PLAIN:
        return OutgoingMessage(Message(raw))
    attributes = given.get("MessageAttributes")
    system = message_attributes.read_system(given.get("MessageSystemAttributes") or {})
    trace = system[0].value.decode() if system else ""
    if len(trace) > TRACE_MAX_LENGTH:
        raise invalid_value(trace, message_attributes.TRACE_HEADER, f"It has {TRACE_MAX_LENGTH} characters at most.")
    message = Message(raw, message_attributes.read(attributes) if attributes else (), None, trace)
    delay = numbers.delay(given)
    if queue.fifo:
        if delay:
            raise not_for_this_type(given["DelaySeconds"], "DelaySeconds")
        delay = None
    elif given.get("MessageDeduplicationId") is not None:
        _identifier(given, "MessageDeduplicationId")
        raise not_for_this_type(given["MessageDeduplicationId"], "MessageDeduplicationId")
    group, deduplication = _identifier(given, "MessageGroupId"), _identifier(given, "MessageDeduplicationId")
    return OutgoingMessage(message, delay, group, deduplication)


def _packed(messages: Sequence[OutgoingMessage], given: Sequence[dict[str, Any]], queue: QueueName) -> Outgoing:
    if queue.fifo:
        return pack(messages)
    for each in given:
        if not each.keys() <= _PLAIN:
            return pack(messages)
    return pack_bodies([each.message.body for each in messages])


def _identifier(given: dict[str, Any], name: str) -> str:
    value: str | None = given.get(name)
    if value is None:
        return ""
    if not _IDENTIFIER.fullmatch(value):
        raise invalid_value(
            value, name, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )
    return value


def _sent(message: Message, identity: str, sequence_number: int) -> dict[str, Any]:
    answer = {"MessageId": identity, "MD5OfMessageBody": digests.of_body(message.body)}
    if message.attributes:
        answer["MD5OfMessageAttributes"] = digests.of_attributes(message.attributes)
    if message.trace:
        system = (Attribute(message_attributes.TRACE_HEADER, "String", message.trace.encode()),)
        answer["MD5OfMessageSystemAttributes"] = digests.of_attributes(system)
    if sequence_number:
        answer["SequenceNumber"] = written(sequence_number)
    return answer


def written(sequence_number: int) -> str:
    """Twenty digits, so that numbers are in the same order as texts."""
    return f"{sequence_number:020}"
