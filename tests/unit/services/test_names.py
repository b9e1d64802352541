"""Every call of QueueService tells a name that no queue can have from one that no queue has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from broker.base.errors import InvalidName, QueueNotFound
from broker.base.ids import MessageId
from broker.base.instants import Millis
from broker.services.administering import AttributeChanges
from broker.services.browsing import BrowseRequest
from broker.services.outgoing import pack_bodies
from broker.services.queues import QueueService
from tests.unit.services.running import soon, with_queue

SOME = pack_bodies([b"x"])
NOW = Millis(0)
Call = Callable[[QueueService, str, Millis], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "update": lambda queues, name, deadline: queues.update(name, AttributeChanges(), deadline),
    "restripe": lambda queues, name, deadline: queues.update(name, AttributeChanges(stripes=2), deadline),
    "delete": lambda queues, name, deadline: queues.delete(name, deadline),
    "purge": lambda queues, name, deadline: queues.purge(name, deadline),
    "describe": lambda queues, name, deadline: queues.describe(name, deadline),
    "must exist": lambda queues, name, deadline: queues.must_exist(name, deadline),
    "send": lambda queues, name, deadline: queues.send(name, SOME, deadline),
    "receive": lambda queues, name, deadline: queues.receive(name, 1, deadline),
    "wait": lambda queues, name, deadline: queues.wait_for_messages(name, NOW, deadline),
    "replay": lambda queues, name, deadline: queues.replay(name, b"s" * 16, 0, None, deadline),
    "delete messages": lambda queues, name, deadline: queues.delete_messages(name, [b"x"], deadline),
    "change": lambda queues, name, deadline: queues.change_visibility(name, [b"x"], [NOW], deadline),
    "give back": lambda queues, name, deadline: queues.give_back(name, [b"x"], deadline),
    "cancel": lambda queues, name, deadline: queues.cancel(name, [MessageId(1, 1, 0).to_bytes()], deadline),
    "exchange to": lambda queues, name, deadline: queues.exchange(name, SOME, "orders", [b"x"], deadline),
    "exchange from": lambda queues, name, deadline: queues.exchange("orders", SOME, name, [b"x"], deadline),
    "browse": lambda queues, name, deadline: queues.browse(name, BrowseRequest(), deadline),
    "census": lambda queues, name, deadline: queues.census(name, deadline),
    "start move": lambda queues, name, deadline: queues.start_move(name, "orders", 0, deadline),
    "moves": lambda queues, name, deadline: queues.moves(name, deadline),
    "sources": lambda queues, name, deadline: queues.dead_letter_sources(name, deadline),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_bad_names_are_told_from_unknown_ones(call: Call) -> None:
    cluster, services = await with_queue()
    for name in ("", "a b", "x" * 81, ".fifo", "a.fifo.b"):
        with pytest.raises(InvalidName):
            await call(services.queues, name, soon(cluster))
    with pytest.raises(QueueNotFound, match="'unknown' does not exist"):
        await call(services.queues, "unknown", soon(cluster))


async def test_queues_of_namespaces_are_listed_by_their_prefix_alone() -> None:
    cluster, services = await with_queue("orders")
    space = "~123456789012~eu-central-1~"
    for name in (space + "orders", space + "z", "zebra"):
        await services.queues.create(name, AttributeChanges(), soon(cluster))

    plain = await services.queues.names("", "", 3, soon(cluster))
    first = await services.queues.names(space, "", 1, soon(cluster))
    second = await services.queues.names(space, first.names[-1], 1, soon(cluster))

    assert (plain.names, plain.more) == (("orders", "zebra"), False)
    assert (first.names, first.more) == ((space + "orders",), True)
    assert (second.names, second.more) == ((space + "z",), False)
