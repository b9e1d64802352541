"""What a node remembers of queues' policies: how long, how many questions it asks, and what it forgets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from broker.base.errors import BrokerError, DeadlineExceeded, Overloaded
from broker.base.instants import Millis
from broker.domain.policies.policy import Policy
from broker.edge.aws.sqs import queue_policies
from broker.edge.aws.sqs.queue_policies import MAX_ASKED, STALENESS, QueuePolicies
from broker.services.administering import AttributeChanges, Description
from tests.unit.edge.aws.sqs.calling import Sqs, started
from tests.unit.services.running import soon

STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
POLICY = json.dumps({"Statement": STATEMENT})


class CountedQueues:
    """The service's queues, with the questions counted, and held while ``held`` is there and not set."""

    def __init__(self, sqs: Sqs) -> None:
        self._queues = sqs.queues
        self.clock = sqs.queues.clock
        self.asked = 0
        self.held: asyncio.Event | None = None
        self.failing: BrokerError | None = None

    async def describe(self, name: str, deadline: Millis) -> Description:
        self.asked += 1
        found = await self._queues.describe(name, deadline)
        if self.held is not None:
            await self.held.wait()
        if self.failing is not None:
            raise self.failing
        return found


async def with_policy(text: str | None = POLICY) -> tuple[Sqs, CountedQueues, QueuePolicies]:
    sqs = await started()
    await sqs.create(**{} if text is None else {"Policy": text})
    counted: Any = CountedQueues(sqs)
    return sqs, counted, QueuePolicies(counted)


async def of(policies: QueuePolicies, sqs: Sqs, queue: str = "orders", is_owner: bool = True) -> Policy | None:
    return await policies.of(queue, soon(sqs.cluster), is_owner)


async def test_a_policy_is_asked_for_once_in_five_seconds() -> None:
    sqs, queues, policies = await with_policy()
    first = await of(policies, sqs)
    sqs.cluster.clock.advance(STALENESS - 1)
    assert await of(policies, sqs) is first is not None
    assert queues.asked == 1
    sqs.cluster.clock.advance(1)
    assert policies.kept("orders") is None
    await of(policies, sqs)
    assert queues.asked == 2


async def test_that_there_is_no_policy_or_no_queue_is_remembered_as_well() -> None:
    sqs, queues, policies = await with_policy(None)
    for queue in ("orders", "missing", "no name!"):
        assert await of(policies, sqs, queue) is None
        assert await of(policies, sqs, queue) is None
    assert queues.asked == 3


async def test_many_who_wait_ask_once() -> None:
    sqs, queues, policies = await with_policy()
    queues.held = asyncio.Event()
    waiting = [asyncio.ensure_future(of(policies, sqs)) for _ in range(5)]
    await asyncio.sleep(0)
    queues.held.set()
    found = await asyncio.gather(*waiting)
    assert queues.asked == 1
    assert all(policy is found[0] is not None for policy in found)


async def test_one_who_asks_and_hangs_up_leaves_the_question_to_another() -> None:
    sqs, queues, policies = await with_policy()
    queues.held = asyncio.Event()
    first, second = (asyncio.ensure_future(of(policies, sqs)) for _ in range(2))
    for _ in range(20):
        await asyncio.sleep(0)
    first.cancel()
    queues.held.set()
    assert await second is not None
    assert queues.asked == 2


async def test_a_question_that_fails_fails_for_all_who_wait_and_is_asked_again() -> None:
    sqs, queues, policies = await with_policy()
    queues.failing = DeadlineExceeded("too late")
    waiting = [asyncio.ensure_future(of(policies, sqs)) for _ in range(3)]
    assert await asyncio.gather(*waiting, return_exceptions=True) == [queues.failing] * 3
    assert queues.asked == 1
    queues.failing = None
    assert await of(policies, sqs) is not None


async def test_who_waits_waits_no_longer_than_it_may() -> None:
    sqs, queues, policies = await with_policy()
    queues.held = asyncio.Event()
    asking = asyncio.ensure_future(of(policies, sqs))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await policies.of("orders", sqs.queues.clock.monotonic(), True)
    queues.held.set()
    assert await asking is not None


async def test_what_was_asked_before_a_change_is_not_kept() -> None:
    sqs, queues, policies = await with_policy()
    queues.held = asyncio.Event()
    asking = asyncio.ensure_future(of(policies, sqs))
    for _ in range(20):
        await asyncio.sleep(0)
    await sqs.queues.update("orders", AttributeChanges(kept=(("Policy", None),)), soon(sqs.cluster))
    policies.forget("orders")
    queues.held.set()
    await asking
    assert await of(policies, sqs) is None
    assert queues.asked == 2


async def test_no_more_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_policies, "MAX_KEPT", 2)
    sqs, _, policies = await with_policy()
    for queue in ("b", "c"):
        await sqs.create(queue)
    for queue in ("orders", "b", "c"):
        await of(policies, sqs, queue)
    assert [policies.kept(queue) is not None for queue in ("orders", "b", "c")] == [False, True, True]


async def test_names_that_no_queue_has_do_not_drive_out_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_policies, "MAX_MISSING", 2)
    sqs, _, policies = await with_policy()
    for queue in ("orders", "a", "b", "c"):
        await of(policies, sqs, queue)
    assert [policies.kept(queue) is not None for queue in ("orders", "a", "b", "c")] == [True, False, True, True]


async def test_strangers_do_not_ask_without_end_and_do_not_keep_the_owner_waiting() -> None:
    sqs, queues, policies = await with_policy()
    queues.held = asyncio.Event()
    names = [f"queue-{number}" for number in range(MAX_ASKED)]
    for name in names:
        await sqs.create(name)
    asking = [asyncio.ensure_future(of(policies, sqs, name, is_owner=False)) for name in names]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await of(policies, sqs, is_owner=False)
    own = asyncio.ensure_future(of(policies, sqs))
    await asyncio.sleep(0)
    queues.held.set()
    assert await own is not None
    assert await asyncio.gather(*asking) == [None] * MAX_ASKED
    assert await of(policies, sqs, is_owner=False) is not None


async def test_a_policy_of_a_time_before_they_were_checked_lets_nobody_in() -> None:
    sqs, _, policies = await with_policy()
    await sqs.queues.update("orders", AttributeChanges(kept=(("Policy", '{"Statement":[]}'),)), soon(sqs.cluster))
    assert await of(policies, sqs) is None
