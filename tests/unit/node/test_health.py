"""Probes: what makes a node ready, and what it says when it is not."""

from __future__ import annotations

from broker.node.health import Health
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import services_of


async def test_a_node_is_ready_once_the_directory_has_content_until_it_stops() -> None:
    # given a node whose groups have leaders and whose cluster is new
    cluster = FakeCluster()
    services = services_of(cluster)
    health = Health(cluster.on[cluster.nodes[0].id], lambda: services.controller.settled)
    assert (await health.readyz())[0] == 503
    assert "directory" in (health.trouble() or "")

    # when the controller has given it its first content
    await services.controller.round()

    # then it is ready, until it is about to stop; alive it is all the time
    assert await health.readyz() == (200, "text/plain; charset=utf-8", b"ok\n")
    health.stop()
    assert (await health.readyz())[0] == 503
    assert (await health.livez())[0] == 200
