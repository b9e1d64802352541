"""One real node for all tests of a worker, one client of it, and queues with names of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.conformance.sqs.nodes import Form, client, nodes

_numbers = count(1)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nodes(tmp_path_factory.mktemp("node"), 1) as started:
        yield started[0].endpoint


@pytest.fixture(scope="session")
def sqs(endpoint: str) -> Iterator[Any]:
    with client(endpoint, parameter_validation=False) as made:
        yield made


@pytest.fixture
def form(endpoint: str) -> Form:
    return Form(endpoint)


@pytest.fixture
def name() -> str:
    """Of a queue that no other test has."""
    return f"queue-{next(_numbers)}"


@pytest.fixture
def queue(sqs: Any, name: str) -> str:
    """Its URL."""
    return str(sqs.create_queue(QueueName=name)["QueueUrl"])


@pytest.fixture
def fifo(sqs: Any, name: str) -> str:
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    return str(sqs.create_queue(QueueName=name + ".fifo", Attributes=attributes)["QueueUrl"])
