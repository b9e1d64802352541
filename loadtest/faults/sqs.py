"""Clients of the AWS port, which send, receive and delete one message a call: what many SDKs do.

Each has a connection of its own and goes to the next node when that one ends or is silent. A call that was not answered
is not repeated: whether a message was stored is not known then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from broker.base.errors import BrokerError, Unavailable
from broker.client.client import Client
from loadtest.faults.history import History, Key
from loadtest.faults.traffic import Plan, Workload, body_of, key_of
from loadtest.sqs_calls import CallError, SqsConnection

_PATIENCE_SECONDS = 15.0
"""For an answer, beyond the time that a receive waits."""
_CONNECT_SECONDS = 2.0
_PAUSE_AFTER_ERROR_SECONDS = 0.2


class Caller:
    """One client's connection, made anew when need be."""

    def __init__(self, addresses: Sequence[str], first: int) -> None:
        self._addresses = addresses
        self._turn = first
        self._connection: SqsConnection | None = None

    async def __call__(self, operation: str, patience: float = _PATIENCE_SECONDS, **members: Any) -> dict[str, Any]:
        """Raises Unavailable: nobody knows whether it was done."""
        try:
            if self._connection is None:
                self._connection = await self._connected()
            async with asyncio.timeout(patience):
                return await self._connection(operation, **members)
        except (CallError, OSError, TimeoutError) as error:
            await self.close()
            self._turn += 1
            raise Unavailable(f"{operation}: {error!r}") from None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.__aexit__(None, None, None)

    async def _connected(self) -> SqsConnection:
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await SqsConnection(self._addresses[self._turn % len(self._addresses)]).__aenter__()


class SqsTraffic(Workload):
    def __init__(self, plan: Plan, number: int, history: History, addresses: Sequence[str]) -> None:
        """``addresses``: host:port of the nodes' AWS ports."""
        super().__init__(plan, number, history)
        self._addresses = addresses
        self._url = f"http://broker/000000000000/{self.queue}"

    async def run(self, _sending: Client, _receiving: Client) -> None:
        async with asyncio.TaskGroup() as group:
            for sender in range(self.plan.senders):
                group.create_task(self._send_all(sender))
            for receiver in range(self.plan.receivers):
                group.create_task(self._receive_all(receiver))

    async def _send_all(self, sender: int) -> None:
        call = Caller(self._addresses, sender)
        try:
            for number in count():
                if self._stopped.is_set():
                    return
                await self._send_message(call, (sender, number))
                await self._pause(self.plan.every)
        finally:
            await call.close()

    async def _send_message(self, call: Caller, key: Key) -> None:
        self.history.sending([key])
        try:
            answer = await call("SendMessage", QueueUrl=self._url, MessageBody=body_of(key).decode())
        except BrokerError as error:
            self.history.not_acknowledged(key, error)
            await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
        else:
            self.history.acknowledged(key, answer["MessageId"])

    async def _receive_all(self, receiver: int) -> None:
        call = Caller(self._addresses, receiver)
        try:
            while True:
                await self._take(call)
        finally:
            await call.close()

    async def _take(self, call: Caller) -> None:
        plan, asked = self.plan, self.history.now()
        try:
            answer = await call(
                "ReceiveMessage",
                QueueUrl=self._url,
                MaxNumberOfMessages=plan.most,
                WaitTimeSeconds=round(plan.wait),
                patience=_PATIENCE_SECONDS + plan.wait,
            )
        except BrokerError as error:
            self.history.failed("receive", error)
            await asyncio.sleep(_PAUSE_AFTER_ERROR_SECONDS)
            return
        messages = answer.get("Messages", [])
        keys = [key_of(message["Body"].encode()) for message in messages]
        self.history.received(
            asked, [(key, "", each["MessageId"], None) for key, each in zip(keys, messages, strict=True)]
        )
        for key, message in zip(keys, messages, strict=True):
            if message["Body"].encode() != body_of(key):
                self.history.changed.append(key)
            await self._delete_message(call, key, message["ReceiptHandle"])

    async def _delete_message(self, call: Caller, key: Key, handle: str) -> None:
        self.history.deleting(key)
        try:
            await call("DeleteMessage", QueueUrl=self._url, ReceiptHandle=handle)
        except BrokerError as error:
            self.history.failed("delete", error)
        else:
            self.history.was_deleted(key)
