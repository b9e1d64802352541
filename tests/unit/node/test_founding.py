"""Who founds a cluster, and who finds that there is one."""

from __future__ import annotations

import pytest

from broker.base.ids import NodeId
from broker.node.founding import Answer, decide

B, C = NodeId("b-0"), NodeId("c-0")
EMPTY = Answer(False)
MINE, OTHERS = Answer(True, "mine"), Answer(True, "of-before")


@pytest.mark.parametrize(
    ("answers", "met", "decision"),
    [
        # all founders must be there, and known, before anything is founded
        ({}, [], None),
        ({B: EMPTY}, [B], None),
        ({B: EMPTY, C: EMPTY}, [B], None),
        ({B: EMPTY, C: EMPTY}, [B, C], "found"),
        # one that has founded with this very directory was only quicker
        ({B: MINE}, [B], "found"),
        ({B: MINE, C: EMPTY}, [B, C], "found"),
        # one that has founded with another directory of this node, or without it, shows that the data is lost
        ({B: OTHERS}, [B], "join"),
        ({B: Answer(True), C: EMPTY}, [B, C], "join"),
        # of two that founded one may have joined later and know nothing
        ({B: Answer(True), C: MINE}, [B, C], "found"),
    ],
)
def test_what_follows_from_what_the_others_say(
    answers: dict[NodeId, Answer], met: list[NodeId], decision: str | None
) -> None:
    assert decide("mine", [B, C], answers, met) == decision


def test_a_node_alone_founds_at_once() -> None:
    assert decide("mine", [], {}, []) == "found"
