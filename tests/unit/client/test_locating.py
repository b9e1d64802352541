"""Finding a queue's leader among nodes that are dead, silent, or out of date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from broker.base.errors import QueueNotFound, Unavailable
from broker.client.channels import Channels, open_channel
from broker.client.locating import Locator
from tests.unit.client.fake_broker import FakeCluster, running, until


@asynccontextmanager
async def locating(nodes: int = 3) -> AsyncIterator[tuple[FakeCluster, Channels, Locator]]:
    async with running(nodes) as cluster:
        cluster.create("orders")
        channels = Channels(cluster.addresses.split(","), open_channel(None))
        try:
            yield cluster, channels, Locator(channels, Random(1))
        finally:
            await channels.close()


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_the_leader_is_remembered_until_it_fails() -> None:
    async with locating() as (cluster, channels, locator):
        # given a located queue
        leader = await locator.locate("orders", soon())
        assert leader.address == cluster.leader

        # when it is located again, nobody is asked
        asked = cluster.located
        assert await locator.locate("orders", soon()) is leader
        assert cluster.located == asked

        # when the node fails, everybody is
        locator.failed(leader)
        cluster.leader = cluster.nodes[1].address
        assert (await locator.locate("orders", soon())).address == cluster.nodes[1].address
        assert channels.at(leader.address).suspect


async def test_sessions_of_a_spread_queue_go_to_nodes_of_their_own() -> None:
    async with locating() as (cluster, _channels, locator):
        # given a queue that lives in several groups
        one, other = b"1" * 16, b"2" * 16
        cluster.leader_of_session = {one: cluster.nodes[1].address, other: cluster.nodes[2].address}

        # then each session finds its own node, and calls without one find the leader, in any order
        assert (await locator.locate("orders", soon(), one)).address == cluster.nodes[1].address
        assert (await locator.locate("orders", soon())).address == cluster.nodes[0].address
        assert (await locator.locate("orders", soon(), other)).address == cluster.nodes[2].address
        assert (await locator.locate("orders", soon())).address == cluster.nodes[0].address

        # when a session is to go elsewhere, its own stream hears of it and the others do not
        nearest = await locator.locate("orders", soon(), one)
        cluster.leader_of_session[one] = cluster.nodes[2].address
        assert await locator.moved("orders", nearest, one)
        assert not await locator.moved("orders", await locator.locate("orders", soon()))


async def test_a_suspect_is_believed_in_only_when_it_answers_itself() -> None:
    async with locating() as (cluster, _channels, locator):
        # given a leader that fell silent, whom the others still name
        leader = await locator.locate("orders", soon())
        cluster.nodes[0].speaks.clear()
        locator.failed(leader)
        finding = asyncio.ensure_future(locator.locate("orders", soon()))
        asked = cluster.located
        await until(lambda: cluster.located >= asked + 2)
        assert not finding.done()

        # when it speaks again
        cluster.nodes[0].speaks.set()

        # then it is the leader
        assert await finding is leader
        assert not leader.suspect


async def test_dead_nodes_do_not_delay_the_answer() -> None:
    async with locating() as (cluster, _channels, locator):
        cluster.leader = cluster.nodes[2].address
        await cluster.nodes[0].kill()
        await cluster.nodes[1].kill()
        assert (await locator.locate("orders", soon())).address == cluster.leader


async def test_an_election_is_waited_for() -> None:
    async with locating() as (cluster, _channels, locator):
        # given a cluster without a leader
        cluster.leader = ""
        finding = asyncio.ensure_future(locator.locate("orders", soon()))
        await until(lambda: cluster.located >= 6)

        # when one is elected
        cluster.leader = cluster.nodes[1].address

        # then it is found
        assert (await finding).address == cluster.leader


async def test_without_a_leader_until_the_deadline_the_brokers_words_are_raised() -> None:
    async with locating() as (cluster, _channels, locator):
        cluster.leader = ""
        with pytest.raises(Unavailable, match="no leader is known"):
            await locator.locate("orders", soon(0.2))


async def test_an_unknown_queue_is_not_waited_for() -> None:
    async with locating() as (_cluster, _channels, locator):
        with pytest.raises(QueueNotFound, match="'nothing'"):
            await locator.locate("nothing", soon())


async def test_a_leader_the_client_did_not_know_is_learned() -> None:
    async with running(3) as cluster:
        cluster.create("orders")
        cluster.leader = cluster.nodes[2].address
        channels = Channels([cluster.nodes[0].address], open_channel(None))
        locator = Locator(channels, Random(1))
        assert (await locator.locate("orders", soon())).address == cluster.leader
        assert channels.addresses == [cluster.nodes[0].address, cluster.leader]
        await channels.close()
