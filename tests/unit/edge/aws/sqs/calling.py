"""SQS's operations as plain functions, over a cluster in memory: what a caller sends, and what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import pytest

from broker.aio.tasks import TaskScope
from broker.edge.aws.contract import AwsError, Caller, Context
from broker.edge.aws.sqs.service import SqsService
from broker.services.assembly import Services
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, random_bytes, soon

ACCOUNT, REGION = "000000000000", "us-east-1"
BASE = "http://localhost:4566"


class Sqs:
    """``sqs("SendMessage", QueueUrl=..., MessageBody=...)``."""

    def __init__(self, cluster: FakeCluster, services: Services) -> None:
        self.cluster = cluster
        self.services = services
        self.queues = services.queues
        self.service = SqsService(services.queues, ACCOUNT, REGION, random_bytes)
        self.caller = Caller(ACCOUNT, REGION)
        self.protocol: Literal["json", "query"] = "json"

    async def __call__(self, operation: str, **given: Any) -> dict[str, Any]:
        context = Context(self.caller, BASE, soon(self.cluster), self.protocol, "request")
        return await self.service.operations()[operation](context, given)

    async def refused(self, operation: str, **given: Any) -> tuple[str, str]:
        """The error's code as in JSON, and its message."""
        with pytest.raises(AwsError) as caught:
            await self(operation, **given)
        return caught.value.code, caught.value.message

    async def create(self, name: str = "orders", **attributes: str) -> str:
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        return str((await self("CreateQueue", QueueName=name, Attributes=attributes))["QueueUrl"])

    async def attributes(self, url: str, *names: str) -> dict[str, str]:
        found = await self("GetQueueAttributes", QueueUrl=url, AttributeNames=list(names or ("All",)))
        return dict(found.get("Attributes", {}))

    async def receive(self, url: str, **given: Any) -> list[dict[str, Any]]:
        return list((await self("ReceiveMessage", QueueUrl=url, **given)).get("Messages", []))

    def elsewhere(self, account: str = ACCOUNT, region: str = REGION) -> Sqs:
        """The same service for another caller."""
        other = Sqs(self.cluster, self.services)
        other.caller = msgspec.structs.replace(self.caller, account=account, region=region)
        return other


async def started(cluster: FakeCluster | None = None) -> Sqs:
    cluster = cluster or FakeCluster()
    return Sqs(cluster, await one_node(cluster))


@asynccontextmanager
async def couriers(sqs: Sqs) -> AsyncIterator[None]:
    """What carries dead letters in a node."""
    failures: list[BaseException] = []
    async with TaskScope("couriers", lambda _, error: failures.append(error)) as scope:
        sqs.services.courier.start(scope)
        yield
    assert failures == []
