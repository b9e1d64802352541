"""A node that is unfit to lead hands over, and does not ask again and again when nobody takes it."""

from __future__ import annotations

from broker.base.errors import Unavailable
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.services.cluster import ACCEPTS_METHOD, NO, YES, HandedOver
from broker.services.stepping_back import REST, SteppingBack
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import started


class Hands:
    """Takes what is handed over, or does not."""

    def __init__(self, moved: int) -> None:
        self.moved = moved
        self.asked = 0
        self.fails = False

    async def over(self, until: Millis) -> HandedOver:
        assert until > 0
        self.asked += 1
        if self.fails:
            raise Unavailable("nobody is there")
        return HandedOver(self.moved, 1 - self.moved)


async def nothing(_: Millis) -> None:
    """No pause."""


def watched(fit: bool, moved: int = 1) -> tuple[SteppingBack, Hands]:
    cluster = FakeCluster(nodes=3)
    groups = cluster.on[NodeId("a-0")]
    groups.fit_to_lead = fit
    hands = Hands(moved)
    return SteppingBack(groups, hands.over, nothing), hands


async def test_a_node_that_is_fit_keeps_what_it_leads() -> None:
    stepping_back, hands = watched(fit=True)
    await stepping_back.look()
    assert hands.asked == 0


async def test_a_node_that_is_not_hands_over_as_often_as_it_leads_something() -> None:
    stepping_back, hands = watched(fit=False)
    await stepping_back.look()
    await stepping_back.look()
    assert hands.asked == 2


async def test_where_nobody_takes_anything_there_is_a_rest() -> None:
    stepping_back, hands = watched(fit=False, moved=0)
    for _ in range(REST + 1):
        await stepping_back.look()
    assert hands.asked == 1
    await stepping_back.look()
    assert hands.asked == 2


async def test_a_handover_that_fails_is_tried_again() -> None:
    stepping_back, hands = watched(fit=False)
    hands.fails = True
    await stepping_back.look()
    await stepping_back.look()
    assert hands.asked == 2


async def test_a_node_that_is_unfit_takes_no_leadership() -> None:
    # given a node with a slow disk
    cluster = FakeCluster(nodes=3)
    await started(cluster)
    groups = cluster.on[NodeId("b-0")]
    accepts = groups.handlers[ACCEPTS_METHOD]
    assert await accepts(b"") == YES

    # then it accepts none until the disk is well
    groups.fit_to_lead = False
    assert await accepts(b"") == NO
