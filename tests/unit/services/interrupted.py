"""Calls of services that are cut off between two steps, and what must hold when all has been tended to."""

from __future__ import annotations

from itertools import count

from broker.base.errors import (
    BrokerError,
)
from broker.base.ids import GroupId
from broker.services.administering import AttributeChanges
from broker.services.assembly import Services
from tests.unit.services.fake_groups import FakeCluster, FakeGroups
from tests.unit.services.striped import (
    a_round,
    place_of,
    told,
)

FOUR = AttributeChanges(stripes=4)
LONG = 10_001
"""After which a step that nobody goes on with counts as interrupted."""


class Interrupted(BrokerError):
    """What ends a node between two steps."""


def interrupt(cluster: FakeCluster, wanted: type, when: str, nth: int = 1) -> None:
    """Who proposes the ``nth`` command of that type is gone, "before" or "after" it takes effect."""
    numbers = count(1)

    def cut(groups: FakeGroups) -> None:
        propose = groups.propose

        async def cut_off(group: GroupId, room: str, command: object, *rest: object) -> object:
            if isinstance(command, wanted) and next(numbers) == nth:
                (cluster.before if when == "before" else cluster.after).append(Interrupted("the node is gone"))
            return await propose(group, room, command, *rest)  # type: ignore[arg-type]

        groups.propose = cut_off  # type: ignore[method-assign,assignment]

    for groups in cluster.on.values():
        cut(groups)


def no_more_interruptions(cluster: FakeCluster) -> None:
    for groups in cluster.on.values():
        groups.__dict__.pop("propose", None)
    cluster.before.clear()
    cluster.after.clear()


async def tended(cluster: FakeCluster, services: dict[str, Services]) -> None:
    """What was interrupted has been so for long, and every controller has had its rounds."""
    no_more_interruptions(cluster)
    for _ in range(2):
        cluster.clock.advance(LONG)
        await a_round(cluster, services)


def is_in_order(cluster: FakeCluster, stripes: int, name: str = "orders") -> None:
    """The directory and the groups say the same, and nothing is under way."""
    place = place_of(cluster, name)
    assert (len(place.groups), place.joining, place.draining, place.tellings) == (stripes, (), (), ())
    known = told(cluster, name)
    assert set(known) == set(place.groups)
    home = known[place.group]
    for described in known.values():
        assert described.attributes == home.attributes
        assert (described.groups, described.attributes.stripes) == (place.groups, stripes)
        assert described.target == home.target
