"""Beyond SQS, over the API: schedules, exchange, giving back, browsing, the census, lifetimes, stripes."""

from __future__ import annotations

import grpc

from broker.pb.queues.v1 import queues_pb2 as pb
from tests.conformance.grpc.serving import Running, refusal, serving
from tests.unit.services.fake_groups import FakeCluster

FAILED = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def send(running: Running, *messages: pb.OutgoingMessage, queue: str = "orders") -> pb.SendResponse:
    response: pb.SendResponse = await running.queues.Send(pb.SendRequest(queue=queue, messages=messages))
    return response


async def browse(running: Running, **options: object) -> pb.BrowseResponse:
    response: pb.BrowseResponse = await running.queues.Browse(pb.BrowseRequest(queue="orders", **options))
    return response


async def test_a_scheduled_message_appears_at_its_instant_and_can_be_withdrawn_until_then() -> None:
    async with serving() as running:
        await running.create()
        now = running.cluster.clock.wall()
        sent = await send(
            running,
            pb.OutgoingMessage(body=b"withdrawn", deliver_at=now + 60_000),
            pb.OutgoingMessage(body=b"due", deliver_at=now + 60_000),
            pb.OutgoingMessage(body=b"past", deliver_at=now - 1),
            pb.OutgoingMessage(body=b"too far", deliver_at=now + 345_600_000),
            pb.OutgoingMessage(body=b"both", deliver_at=now + 1, delay_ms=1),
        )
        assert [(failed.entry, failed.error.code) for failed in sent.failed] == [
            (3, "InvalidArgument"),
            (4, "InvalidArgument"),
        ]
        ids = sent.message_ids
        cancel = pb.CancelRequest(queue="orders", message_ids=[ids[0], ids[2], b"short", ids[0]])
        response = await running.queues.Cancel(cancel)
        assert [(failed.entry, failed.error.code) for failed in response.failed] == [
            (1, "NotScheduled"),
            (2, "InvalidArgument"),
            (3, "NotScheduled"),
        ]
        assert [message.body for message in await running.receive(visibility_timeout_ms=3_600_000)] == [b"past"]
        running.cluster.clock.advance(59_999)
        assert await running.receive() == []
        running.cluster.clock.advance(1)
        assert [message.body for message in await running.receive()] == [b"due"]


async def test_only_standard_queues_have_schedules() -> None:
    async with serving() as running:
        await running.create("orders.fifo")
        status, info = await refusal(
            running.queues.Cancel(pb.CancelRequest(queue="orders.fifo", message_ids=[b"x" * 16]))
        )
        assert (status, info.code) == (INVALID, "NotForFifo")
        status, info = await refusal(running.queues.Cancel(pb.CancelRequest(queue="orders.fifo")))
        assert (status, info.code) == (INVALID, "BatchEmpty")


async def test_a_message_lives_as_long_as_it_was_given() -> None:
    async with serving() as running:
        await running.create()
        await send(
            running, pb.OutgoingMessage(body=b"mayfly", time_to_live_ms=1_000), pb.OutgoingMessage(body=b"stone")
        )
        running.cluster.clock.advance(1_000)
        assert [message.body for message in await running.receive()] == [b"stone"]
        assert (await running.counts()).expired_total == 1


async def test_an_exchange_is_both_or_neither() -> None:
    async with serving() as running:
        # given a message in hand, and a queue beside its own
        await running.create("orders")
        await running.queues.CreateQueue(pb.CreateQueueRequest(name="invoices.fifo", beside="orders"))
        await running.send(b"order")
        (order,) = await running.receive()

        def request(*messages: pb.OutgoingMessage, handle: bytes = order.receipt_handle) -> pb.ExchangeRequest:
            return pb.ExchangeRequest(
                queue="invoices.fifo", messages=messages, delete_from="orders", receipt_handles=[handle]
            )

        good = pb.OutgoingMessage(body=b"invoice", message_group="a", deduplication_id="1")
        # when one of both cannot be, then neither is
        status, info = await refusal(running.queues.Exchange(request(good, pb.OutgoingMessage(body=b"no group"))))
        assert (status, info.code) == (INVALID, "MessageGroupRequired")
        status, info = await refusal(running.queues.Exchange(request(good, handle=b"x" * 40)))
        assert (status, info.code) == (INVALID, "ReceiptHandleInvalid")
        assert (await running.counts("orders")).in_flight == 1
        assert (await running.counts("invoices.fifo")).sent_total == 0

        # when both can be, then both are; and the handle is used up
        done = await running.queues.Exchange(request(good))
        assert (len(done.message_ids[0]), len(done.sequence_numbers)) == (16, 1)
        assert (await running.counts("orders")).in_flight == 0
        assert (await running.counts("invoices.fifo")).visible == 1
        other = pb.OutgoingMessage(body=b"again", message_group="a", deduplication_id="2")
        status, info = await refusal(running.queues.Exchange(request(other)))
        assert (status, info.code) == (FAILED, "ReceiptHandleExpired")


async def test_queues_of_two_groups_exchange_nothing() -> None:
    async with serving() as running:
        await running.create("orders")
        names = [f"other-{number}" for number in range(8)]
        for name in names:
            await running.create(name)
        described = [(await running.queues.DescribeQueue(pb.DescribeQueueRequest(name=name))).queue for name in names]
        near = (await running.queues.DescribeQueue(pb.DescribeQueueRequest(name="orders"))).queue.group
        far = next(queue.name for queue in described if queue.group != near)
        await running.send(b"order")
        (order,) = await running.receive()
        request = pb.ExchangeRequest(
            queue=far,
            messages=[pb.OutgoingMessage(body=b"x")],
            delete_from="orders",
            receipt_handles=[order.receipt_handle],
        )
        status, info = await refusal(running.queues.Exchange(request))
        assert (status, info.code) == (FAILED, "DifferentGroups")
        assert "beside" in info.message


async def test_a_message_given_back_is_as_if_nobody_had_received_it() -> None:
    async with serving() as running:
        await running.create()
        await running.send(b"a")
        (first,) = await running.receive()
        request = pb.GiveBackRequest(queue="orders", receipt_handles=[first.receipt_handle, b"x"])
        response = await running.queues.GiveBack(request)
        (again,) = await running.receive()
        assert [(failed.entry, failed.error.code) for failed in response.failed] == [(1, "ReceiptHandleInvalid")]
        assert (again.message_id, again.receive_count) == (first.message_id, 1)


async def test_browsing_shows_each_message_as_it_stands_and_takes_none() -> None:
    async with serving() as running:
        # given one message of each state, with something of its own
        await running.create()
        now = running.cluster.clock.wall()
        attribute = pb.MessageAttribute(name="n", type="Number", value=b"1")
        await send(running, pb.OutgoingMessage(body=b"in flight", attributes=[attribute]))
        await running.receive(visibility_timeout_ms=5_000)
        await send(running, pb.OutgoingMessage(body=b"visible", message_group="tenant"))
        await send(running, pb.OutgoingMessage(body=b"delayed", deliver_at=now + 9_000))

        # when they are browsed
        flying, visible, delayed = (await browse(running)).messages

        # then each tells its state, and when that ends
        assert (flying.body, flying.state, flying.until) == (b"in flight", pb.MESSAGE_STATE_IN_FLIGHT, now + 5_000)
        assert (flying.receive_count, flying.first_received_at, list(flying.attributes)) == (1, now, [attribute])
        assert (visible.body, visible.state, visible.until) == (b"visible", pb.MESSAGE_STATE_VISIBLE, 0)
        assert (visible.message_group, visible.receive_count, visible.first_received_at) == ("tenant", 0, 0)
        assert (delayed.body, delayed.state, delayed.until) == (b"delayed", pb.MESSAGE_STATE_DELAYED, now + 9_000)
        counts = await running.counts()
        assert (counts.visible, counts.in_flight, counts.delayed, counts.received_total) == (1, 1, 1, 1)


async def test_browsing_goes_page_by_page_and_by_state_and_time() -> None:
    async with serving() as running:
        await running.create()
        for number in range(10):
            await running.send(b"%d" % number)
            running.cluster.clock.advance(1_000)
        start = running.cluster.clock.wall() - 10_000
        found: list[bytes] = []
        token, pages = "", 0
        while token or not pages:
            page = await browse(running, page_size=3, page_token=token)
            found += [message.body for message in page.messages]
            token, pages = page.next_page_token, pages + 1
        between = await browse(running, since=start + 2_000, until=start + 5_000)
        none = await browse(running, states=[pb.MESSAGE_STATE_DELAYED, pb.MESSAGE_STATE_IN_FLIGHT])

        assert found == [b"%d" % number for number in range(10)]
        assert pages >= 4
        assert [message.body for message in between.messages] == [b"2", b"3", b"4"]
        assert list(none.messages) == []


async def test_a_page_that_cannot_be_is_refused() -> None:
    async with serving() as running:
        await running.create()
        for options, said in (
            ({"page_size": 1_001}, "number of messages to browse 1001 is out of range: use 1 to 1000"),
            ({"page_token": "nonsense"}, "page token 'nonsense' is none"),
            ({"states": [0]}, "message state 0 is not known: use one of MESSAGE_STATE_VISIBLE (1)"),
            ({"states": [1, 8]}, "message state 8 is not known"),
            ({"since": 5, "until": 4}, "messages sent from 5 and before 4 cannot be"),
            ({"since": 2**63}, "since is at most"),
        ):
            status, info = await refusal(browse(running, **options))
            assert (status, info.code) == (INVALID, "InvalidArgument")
            assert said in info.message


async def test_a_census_counts_ages_and_message_groups() -> None:
    async with serving() as running:
        await running.create()
        for group, count in (("big", 5), ("small", 2)):
            await send(running, *(pb.OutgoingMessage(body=b"x", message_group=group) for _ in range(count)))
            running.cluster.clock.advance(20_000)
        await running.receive(1)
        census = await running.queues.Census(pb.CensusRequest(queue="orders"))
        ages = {each.state: list(each.counts) for each in census.ages}

        bounds = list(census.age_bounds_ms)
        assert bounds == sorted(bounds)
        assert {len(counts) for counts in ages.values()} == {len(bounds) + 1}
        assert sum(ages[pb.MESSAGE_STATE_VISIBLE]) == 6
        assert sum(ages[pb.MESSAGE_STATE_IN_FLIGHT]) == 1
        minute = bounds.index(60_000)
        assert ages[pb.MESSAGE_STATE_VISIBLE][minute] == 6
        groups = {each.message_group: each.waiting + each.in_flight for each in census.message_groups}
        assert groups == {"big": 5, "small": 2}
        assert census.message_groups[0].message_group == "big"
        assert census.at == running.cluster.clock.wall()


async def test_a_spread_queue_tells_its_groups_and_gives_out_everything() -> None:
    async with serving(FakeCluster(nodes=3, groups=4)) as running:
        await running.create(stripes=3)
        for number in range(60):
            await running.send(b"%d" % number)
        queue = (await running.queues.DescribeQueue(pb.DescribeQueueRequest(name="orders"))).queue
        found: set[bytes] = set()
        for _ in range(60):
            found |= {message.body for message in await running.receive(100)}
        census = await running.queues.Census(pb.CensusRequest(queue="orders"))

        assert (queue.attributes.stripes, len(set(queue.groups)), queue.groups[0]) == (3, 3, queue.group)
        assert queue.counts.sent_total == 60
        assert found == {b"%d" % number for number in range(60)}
        assert sum(sum(each.counts) for each in census.ages) == 60
        browsed: list[pb.BrowsedMessage] = []
        token = None
        while token != "":
            page = await browse(running, page_size=7, page_token=token or "")
            browsed += page.messages
            token = page.next_page_token
        assert len({message.message_id for message in browsed}) == 60


async def test_a_queue_beside_one_that_is_not_there_is_refused() -> None:
    async with serving() as running:
        status, info = await refusal(running.queues.CreateQueue(pb.CreateQueueRequest(name="a", beside="none")))
        assert (status, info.code) == (grpc.StatusCode.NOT_FOUND, "QueueNotFound")
