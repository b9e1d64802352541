"""What a node tells about the queues that it leads."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.base.ids import GroupId, NodeId, QueueId
from broker.domain.queues.commands import CreateQueue, Receive, Send
from broker.domain.queues.model import Message, QueueAttributes
from broker.domain.queues.questions import AllQueues
from broker.node.metrics import QueueReadings
from tests.unit.services.fake_groups import FakeCluster, FakeGroups

ORDERS, INVOICES = QueueId(1), QueueId(2)


class CountingGroups(FakeGroups):
    """Counts the questions."""

    def __init__(self, cluster: FakeCluster, me: NodeId) -> None:
        super().__init__(cluster, me)
        self.asked = 0

    def peek(self, group: GroupId, room: str, question: Any) -> Any:
        self.asked += isinstance(question, AllQueues)
        return super().peek(group, room, question)


def cluster_with_two_groups() -> FakeCluster:
    """Both led by the first node. "orders" is in both of them, "invoices" in the second only."""
    cluster = FakeCluster(nodes=1, groups=2)
    for group, queue, name in ((1, ORDERS, "orders"), (2, ORDERS, "orders"), (2, INVOICES, "invoices")):
        cluster.apply_command(GroupId(group), "queues", CreateQueue(queue, name, QueueAttributes()))
    return cluster


def send(cluster: FakeCluster, group: int, queue: QueueId, count: int) -> None:
    messages = msgspec.Raw(msgspec.msgpack.encode([Message(b"x")] * count))
    cluster.apply_command(GroupId(group), "queues", Send(queue, count, 1, None, messages))


async def test_a_queue_that_is_spread_is_told_once_with_the_sum_of_its_stripes() -> None:
    # given messages in both stripes, of which some are in flight
    cluster = cluster_with_two_groups()
    send(cluster, 1, ORDERS, 3)
    cluster.clock.advance(5_000)
    send(cluster, 2, ORDERS, 4)
    cluster.apply_command(GroupId(2), "queues", Receive(ORDERS, 2))
    readings = QueueReadings(cluster.on[cluster.nodes[0].id])
    # when they are gathered
    await readings.gather()
    # then there is one line of each kind
    assert dict(readings.messages())["orders", "visible"] == 5
    assert dict(readings.messages())["orders", "in_flight"] == 2
    assert dict(readings.oldest())["orders",] == 5.0
    assert dict(readings.oldest())["invoices",] == 0
    assert list(readings.total("sent_total")()) == [(("orders",), 7), (("invoices",), 0)]


async def test_each_group_is_asked_once_for_all_that_is_told() -> None:
    cluster = cluster_with_two_groups()
    groups = CountingGroups(cluster, cluster.nodes[0].id)
    readings = QueueReadings(groups)
    await readings.gather()
    for reading in (readings.messages(), readings.oldest(), readings.total("sent_total")()):
        assert list(reading)
    assert groups.asked == 2


async def test_queues_that_another_node_leads_are_not_told() -> None:
    cluster = cluster_with_two_groups()
    cluster.elect(2, None)
    readings = QueueReadings(cluster.on[cluster.nodes[0].id])
    await readings.gather()
    assert [labels for labels, _ in readings.total("sent_total")()] == [("orders",)]
