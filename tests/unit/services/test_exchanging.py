"""Exchange through QueueService: what is sent and what is deleted happen together, or not at all."""

from __future__ import annotations

import pytest

from broker.base.errors import (
    BatchEmpty,
    DifferentGroups,
    MessageGroupRequired,
    MessageTooLong,
    QueueNotFound,
    ReceiptHandleExpired,
    ReceiptHandleInvalid,
    Unavailable,
)
from broker.base.limits import MAX_MESSAGE_SIZE
from broker.domain.queues.model import Counts, Message
from broker.machine.envelope import RequestId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon, started, with_queue

SESSION = b"s" * 16


async def two_queues(to: str = "invoices", groups: int = 1) -> tuple[FakeCluster, Services]:
    """``orders`` with three messages, and another queue."""
    cluster, services = await with_queue("orders", cluster=FakeCluster(groups=groups))
    await services.queues.create(to, AttributeChanges(), soon(cluster))
    await services.queues.send("orders", pack_bodies([b"a", b"b", b"c"]), soon(cluster))
    return cluster, services


async def take(cluster: FakeCluster, services: Services, count: int) -> list[bytes]:
    return [each.handle for each in (await services.queues.receive("orders", count, soon(cluster))).messages]


async def counts(cluster: FakeCluster, services: Services, name: str) -> Counts:
    return (await services.queues.describe(name, soon(cluster))).counts


async def test_both_happen_as_one_command() -> None:
    cluster, services = await two_queues()
    handles = await take(cluster, services, 2)
    cluster.proposals.clear()

    result = await services.queues.exchange("invoices", pack_bodies([b"x"]), "orders", handles, soon(cluster))

    assert len(cluster.proposals) == 1
    received = (await services.queues.receive("invoices", 10, soon(cluster))).messages
    assert [(each.body, each.id) for each in received] == [(b"x", result.message_ids()[0])]
    orders = await counts(cluster, services, "orders")
    assert (orders.deleted_total, orders.in_flight, orders.visible) == (2, 0, 1)


async def test_a_queue_can_exchange_with_itself() -> None:
    cluster, services = await two_queues()
    handles = await take(cluster, services, 1)

    await services.queues.exchange("orders", pack_bodies([b"again"]), "orders", handles, soon(cluster))

    found = (await services.queues.receive("orders", 10, soon(cluster))).messages
    assert [each.body for each in found] == [b"b", b"c", b"again"]


async def test_one_handle_that_holds_nothing_any_more_prevents_both() -> None:
    cluster, services = await two_queues()
    handles = await take(cluster, services, 2)
    await services.queues.delete_messages("orders", handles[1:], soon(cluster))

    with pytest.raises(ReceiptHandleExpired):
        await services.queues.exchange("invoices", pack_bodies([b"x"]), "orders", handles, soon(cluster))

    assert (await counts(cluster, services, "invoices")).sent_total == 0
    assert (await counts(cluster, services, "orders")).in_flight == 1


async def test_one_message_that_is_refused_prevents_both_and_is_named() -> None:
    cluster, services = await two_queues("invoices.fifo")
    handles = await take(cluster, services, 1)
    cluster.proposals.clear()
    good = OutgoingMessage(Message(b"x"), group="a", deduplication="1")
    too_long = OutgoingMessage(Message(b"x" * (MAX_MESSAGE_SIZE + 1)), group="a", deduplication="2")

    for bad, error in ((OutgoingMessage(Message(b"y")), MessageGroupRequired), (too_long, MessageTooLong)):
        with pytest.raises(error, match=r"^message 1: .*nothing was sent or deleted"):
            await services.queues.exchange("invoices.fifo", pack([good, bad]), "orders", handles, soon(cluster))

    assert cluster.proposals == []


async def test_handles_must_be_whole_and_of_the_queue_named() -> None:
    cluster, services = await two_queues()
    handles = await take(cluster, services, 1)
    exchange = services.queues.exchange
    with pytest.raises(ReceiptHandleInvalid, match=r"^receipt handle 1: .*nothing was sent"):
        await exchange("invoices", pack_bodies([b"x"]), "orders", [*handles, b"junk"], soon(cluster))
    with pytest.raises(ReceiptHandleInvalid, match="another queue"):
        await exchange("orders", pack_bodies([b"x"]), "invoices", handles, soon(cluster))
    with pytest.raises(BatchEmpty):
        await exchange("invoices", pack_bodies([b"x"]), "orders", [], soon(cluster))


async def test_queues_of_two_groups_cannot_exchange_and_the_error_says_what_to_do() -> None:
    cluster, services = await two_queues(groups=2)
    handles = await take(cluster, services, 1)
    with pytest.raises(DifferentGroups, match=r"'invoices' lives in group 2 and 'orders' in group 1.*beside the other"):
        await services.queues.exchange("invoices", pack_bodies([b"x"]), "orders", handles, soon(cluster))


async def test_both_queues_must_exist() -> None:
    cluster, services = await two_queues()
    handles = await take(cluster, services, 1)
    for to, source in (("unknown", "orders"), ("invoices", "unknown")):
        with pytest.raises(QueueNotFound, match="'unknown'"):
            await services.queues.exchange(to, pack_bodies([b"x"]), source, handles, soon(cluster))


async def test_an_exchange_whose_answer_got_lost_happens_once() -> None:
    cluster, services = await two_queues()
    handles = await take(cluster, services, 1)
    once = RequestId(SESSION, 1)
    cluster.after = [Unavailable("the connection broke")]

    first = await services.queues.exchange("invoices", pack_bodies([b"x"]), "orders", handles, soon(cluster), once)
    again = await services.queues.exchange("invoices", pack_bodies([b"x"]), "orders", handles, soon(cluster), once)

    assert first.message_ids() == again.message_ids()
    assert (await counts(cluster, services, "invoices")).sent_total == 1


async def test_a_queue_created_again_elsewhere_is_found() -> None:
    cluster = FakeCluster(nodes=2, groups=1)
    nodes = await started(cluster)
    here, there = nodes["a-0"].queues, nodes["b-0"].queues
    for name in ("orders", "invoices"):
        await here.create(name, AttributeChanges(), soon(cluster))
        await there.must_exist(name, soon(cluster))
    await here.delete("invoices", soon(cluster))
    await here.create("invoices", AttributeChanges(), soon(cluster))
    await here.send("orders", pack_bodies([b"a"]), soon(cluster))
    handle = (await here.receive("orders", 1, soon(cluster))).messages[0].handle

    result = await there.exchange("invoices", pack_bodies([b"x"]), "orders", [handle], soon(cluster))

    assert result.accepted == 1


async def test_what_an_exchange_sent_is_read_from_its_entry() -> None:
    cluster = FakeCluster(groups=1)
    services = await one_node(cluster)
    queues = services.queues
    await queues.create("orders.fifo", AttributeChanges(content_deduplication=True), soon(cluster))
    first = pack([OutgoingMessage(Message(b"a"), group="g")])
    await queues.send("orders.fifo", first, soon(cluster))
    held = (await queues.receive("orders.fifo", 1, soon(cluster))).messages

    second = pack([OutgoingMessage(Message(b"b"), group="g", deduplication="own")])
    result = await queues.exchange("orders.fifo", second, "orders.fifo", [held[0].handle], soon(cluster))

    (found,) = (await queues.receive("orders.fifo", 10, soon(cluster))).messages
    assert (found.body, found.group, found.deduplication) == (b"b", "g", "own")
    assert result.sequence_numbers() == [found.sequence_number]
