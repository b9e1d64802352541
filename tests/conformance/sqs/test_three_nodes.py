"""Three real nodes: any of them serves any queue, and one that is killed takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conformance.sqs.nodes import Node, client, nodes

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with nodes(tmp_path_factory.mktemp("nodes"), 3) as started:
        yield started


@pytest.fixture(scope="module")
def clients(cluster: list[Node]) -> Iterator[list[Any]]:
    """One for each node."""
    with ExitStack() as stack:
        yield [stack.enter_context(client(node.endpoint)) for node in cluster]


def test_a_message_sent_through_one_node_is_received_deleted_and_counted_through_others(clients: list[Any]) -> None:
    for number in range(6):  # so that leaders of several nodes are among them
        first, second, third = (clients[(number + place) % 3] for place in range(3))
        url = first.create_queue(QueueName=f"orders-{number}")["QueueUrl"]
        sent = first.send_message(QueueUrl=url, MessageBody="x")
        (received,) = second.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
        third.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])

        assert received["MessageId"] == sent["MessageId"]
        counts = first.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
        assert counts["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": "0"}


def test_urls_name_the_node_that_was_asked(clients: list[Any]) -> None:
    clients[0].create_queue(QueueName="somewhere")
    urls = [each.get_queue_url(QueueName="somewhere")["QueueUrl"] for each in clients]
    assert len(set(urls)) == 3
    for each, url in zip(clients, (urls[1], urls[2], urls[0]), strict=True):  # the queue is the same by any of them
        assert each.list_queue_tags(QueueUrl=url)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_fifo_queues_of_high_throughput_keep_order_by_group(clients: list[Any]) -> None:
    attributes = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
    }
    url = clients[0].create_queue(QueueName="orders.fifo", Attributes=attributes)["QueueUrl"]
    for number in range(12):
        clients[number % 3].send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId=f"g{number % 4}")
    received: dict[str, list[int]] = {}
    for turn in range(12):
        answer = clients[turn % 3].receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        for message in answer.get("Messages", []):
            received.setdefault(message["Attributes"]["MessageGroupId"], []).append(int(message["Body"]))
            clients[0].delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert received == {f"g{group}": [group, group + 4, group + 8] for group in range(4)}


def test_a_client_of_another_node_sees_no_error_when_one_is_killed(cluster: list[Node]) -> None:
    """The last test here: afterwards there are two nodes."""
    with client(cluster[0].endpoint, retries=True) as sqs:
        urls = [sqs.create_queue(QueueName=f"killed-{number}")["QueueUrl"] for number in range(6)]
        sent = []
        for number in range(120):
            if number == 30:
                cluster[1].process.kill()  # which leads some of the six
            answer = sqs.send_message(QueueUrl=urls[number % 6], MessageBody=str(number))
            sent.append(answer["MessageId"])
        received = set()
        for url in urls:
            while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                received |= {message["MessageId"] for message in messages}
    assert received == set(sent)
