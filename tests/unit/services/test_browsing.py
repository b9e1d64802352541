"""Looking into a queue through QueueService: pages, states, bounds, and the census."""

from __future__ import annotations

import pytest

from broker.base.errors import InvalidArgument, QueueNotFound
from broker.base.ids import MessageId
from broker.base.instants import MINUTE, Millis, WallMillis
from broker.base.limits import MIB
from broker.domain.queues.model import DELAYED, IN_FLIGHT, VISIBLE, Attribute, Message
from broker.services import browsing
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from broker.services.browsing import AGES, BrowsedMessage, BrowseRequest
from broker.services.outgoing import OutgoingMessage, pack, pack_bodies
from broker.services.receiving import ANSWER_SIZE
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import soon, started, with_queue


async def all_pages(cluster: FakeCluster, services: Services, **wanted: object) -> list[list[BrowsedMessage]]:
    pages: list[list[BrowsedMessage]] = []
    token = ""
    while True:
        request = BrowseRequest(token=token, **wanted)  # type: ignore[arg-type]
        answer = await services.queues.browse("orders", request, soon(cluster))
        pages.append(answer.messages)
        token = answer.next_token
        if not token:
            return pages


async def test_browsing_shows_everything_and_changes_nothing() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    attributes = (Attribute("kind", "String", b"express"),)
    batch = [
        OutgoingMessage(Message(b"held")),
        OutgoingMessage(Message(b"ready", attributes), group="tenant"),
        OutgoingMessage(Message(b"later"), delay=5_000),
        OutgoingMessage(Message(b"scheduled"), due=cluster.clock.wall() + MINUTE),
    ]
    sent = await queues.send("orders", pack(batch), soon(cluster))
    await queues.receive("orders", 1, soon(cluster), visibility_timeout=Millis(9_000))
    before = await queues.describe("orders", soon(cluster))
    cluster.proposals.clear()

    (page,) = await all_pages(cluster, services)

    now = cluster.clock.wall()
    assert [(each.body, each.state, each.until) for each in page] == [
        (b"held", IN_FLIGHT, now + 9_000),
        (b"ready", VISIBLE, 0),
        (b"later", DELAYED, now + 5_000),
        (b"scheduled", DELAYED, now + MINUTE),
    ]
    assert [each.id for each in page] == sent.message_ids()
    assert [each.receive_count for each in page] == [1, 0, 0, 0]
    assert (page[1].group, page[1].attributes, page[1].sent_at) == ("tenant", attributes, now)
    assert (await queues.describe("orders", soon(cluster))).counts == before.counts
    assert cluster.proposals == []


async def test_pages_follow_one_another_without_gaps_or_repetition() -> None:
    cluster, services = await with_queue()
    for start in range(0, 25, 5):
        await services.queues.send("orders", pack_bodies([b"%d" % (start + n) for n in range(5)]), soon(cluster))

    pages = await all_pages(cluster, services, limit=10)

    assert [len(page) for page in pages] == [10, 10, 5]
    assert [each.body for page in pages for each in page] == [b"%d" % number for number in range(25)]


async def test_browsing_by_state_and_by_time() -> None:
    cluster, services = await with_queue()
    start = cluster.clock.wall()
    for number in range(4):
        await services.queues.send("orders", pack_bodies([b"%d" % number]), soon(cluster))
        cluster.clock.advance(1_000)
    await services.queues.receive("orders", 1, soon(cluster))

    (held,) = await all_pages(cluster, services, states=(IN_FLIGHT,))
    (between,) = await all_pages(cluster, services, since=WallMillis(start + 1_000), until=WallMillis(start + 3_000))

    assert [each.body for each in held] == [b"0"]
    assert [each.body for each in between] == [b"1", b"2"]


async def test_a_page_is_bounded_in_bytes() -> None:
    cluster, services = await with_queue(changes=AttributeChanges(message_size_limit=MIB))
    for _ in range(2):
        await services.queues.send("orders", pack_bodies([bytes([n]) * (MIB - 200) for n in range(4)]), soon(cluster))

    pages = await all_pages(cluster, services)

    assert [len(page) for page in pages] == [3, 3, 2]
    assert all(sum(len(each.body) for each in page) <= ANSWER_SIZE for page in pages)


async def test_a_page_of_messages_far_apart_is_bounded_by_what_is_read_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, services = await with_queue()
    for number in range(6):
        await services.queues.send("orders", pack_bodies([b"%d" % number, b"x" * 2_000]), soon(cluster))
    monkeypatch.setattr(browsing, "MAX_READ", 5_000)

    pages = await all_pages(cluster, services)

    assert [each.body for page in pages for each in page if len(each.body) == 1] == [b"%d" % n for n in range(6)]
    assert len(pages) > 1


async def test_what_was_deleted_between_the_looking_and_the_reading_is_left_out() -> None:
    cluster, services = await with_queue()
    await services.queues.send("orders", pack_bodies([b"a"]), soon(cluster))
    for group in (1, 2):
        cluster.drop_entries(group)

    assert await all_pages(cluster, services) == [[]]


async def test_tokens_are_of_one_queue_and_nothing_else() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    await queues.create("other", AttributeChanges(), soon(cluster))
    await queues.send("orders", pack_bodies([b"a", b"b"]), soon(cluster))
    token = (await queues.browse("orders", BrowseRequest(limit=1), soon(cluster))).next_token

    with pytest.raises(InvalidArgument, match="of another queue"):
        await queues.browse("other", BrowseRequest(token=token), soon(cluster))
    for bad in ("x", "1.", "1.2.3.4", token + "0" * 30, "-1.2.3"):
        with pytest.raises(InvalidArgument, match="use it exactly as received"):
            await queues.browse("orders", BrowseRequest(token=bad), soon(cluster))


async def test_browsing_is_checked_and_needs_a_queue() -> None:
    cluster, services = await with_queue()
    with pytest.raises(InvalidArgument, match="browse 1001"):
        await services.queues.browse("orders", BrowseRequest(limit=1_001), soon(cluster))
    with pytest.raises(InvalidArgument, match="'gone'"):
        await services.queues.browse("orders", BrowseRequest(states=("gone",)), soon(cluster))
    with pytest.raises(QueueNotFound):
        await services.queues.browse("unknown", BrowseRequest(), soon(cluster))
    with pytest.raises(QueueNotFound):
        await services.queues.census("unknown", soon(cluster))


async def test_another_nodes_queue_is_browsed_too() -> None:
    cluster = FakeCluster(nodes=3, groups=1)
    nodes = await started(cluster)
    await nodes["a-0"].queues.create("orders", AttributeChanges(), soon(cluster))
    await nodes["a-0"].queues.send("orders", pack_bodies([b"a"]), soon(cluster))

    (page,) = await all_pages(cluster, nodes["b-0"])
    census = await nodes["b-0"].queues.census("orders", soon(cluster))

    assert [MessageId.from_bytes(each.id).group for each in page] == [1]
    assert census.ages[VISIBLE][0] == 1


async def test_the_census_counts_by_state_and_age_and_names_the_largest_groups() -> None:
    cluster, services = await with_queue()
    queues = services.queues
    ages = [0, 1_000, 1_001, 90_000]
    for older, younger in zip(reversed(ages), [*reversed(ages[:-1]), 0], strict=True):
        batch = [OutgoingMessage(Message(b"x"), group="a"), OutgoingMessage(Message(b"y"), group=f"age-{older}")]
        await queues.send("orders", pack(batch), soon(cluster))
        cluster.clock.advance(older - younger)
    await queues.receive("orders", 1, soon(cluster))
    await queues.send("orders", pack([OutgoingMessage(Message(b"z"), delay=60_000)]), soon(cluster))

    census = await queues.census("orders", soon(cluster))

    assert census.bounds == list(AGES)
    assert (census.bounds[:4], census.at) == ([1_000, 10_000, 60_000, 600_000], cluster.clock.wall())
    assert census.ages[VISIBLE] == [4, 2, 0, 1, 0, 0, 0, 0, 0]
    assert census.ages[IN_FLIGHT] == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert census.ages[DELAYED] == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert census.groups[0][0] == "a"
    assert sum(waiting + held for _, waiting, held in census.groups) == 8
