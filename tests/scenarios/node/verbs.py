"""The sentences that a story about a cluster may use."""

from __future__ import annotations

from tests.scenarios.node.interpreter import GROUP, Story, verb
from tests.simulation.world import MILLISECOND, SECOND


@verb("Three nodes start, and one of them leads")
def start(story: Story) -> None:
    for node in story.nodes:
        node.start()
    story.pass_time(3 * SECOND)
    story.leader()
    story.tell(story.create(), within=1_000)


@verb("A client sends {n} messages")
def send(story: Story, count: int) -> None:
    send_within(story, 60_000, count)


@verb("Within {n} ms a client has sent {n} messages")
def send_within(story: Story, limit: int, count: int) -> None:
    before = len(story.acknowledged)
    story.tell(story.send(count), limit)
    done = len(story.acknowledged) - before
    assert done == count, f"{done} of {count} messages were acknowledged within {limit} ms"


@verb("For {n} ms a client cannot send")
def cannot_send(story: Story, duration: int) -> None:
    before = len(story.acknowledged)
    story.tell(story.send(1), duration)
    assert len(story.acknowledged) == before, "a message was acknowledged"


@verb("What the client waited for is done within {n} ms")
def done_within(story: Story, limit: int) -> None:
    end = story.world.now + limit * MILLISECOND
    while story.client.open and story.world.now < end:
        story.pass_time(1 * MILLISECOND)
    assert not story.client.open, f"it still waits after {limit} ms"


@verb("The leader's process is killed")
def kill_leader(story: Story) -> None:
    story.leader().crash(power_lost=False)


@verb("The leader's machine loses its power")
def power_off_leader(story: Story) -> None:
    story.leader().crash(power_lost=True)


@verb("A follower's machine loses its power")
def power_off_follower(story: Story) -> None:
    leader = story.leader()
    next(node for node in story.nodes if node.up and node is not leader).crash(power_lost=True)


@verb("All machines lose their power")
def power_off_all(story: Story) -> None:
    for node in story.nodes:
        if node.up:
            node.crash(power_lost=True)


@verb("The leader is cut off from the others")
def cut_off_leader(story: Story) -> None:
    leader = story.leader()
    for other in story.nodes:
        if other is not leader:
            story.simulation.network.block(leader.name, other.name)
            story.simulation.network.block(other.name, leader.name)


@verb("The network heals")
def heal(story: Story) -> None:
    story.simulation.network.behave()


@verb("Whoever is down starts again")
def restart(story: Story) -> None:
    for node in story.nodes:
        if not node.up:
            node.start()


@verb("{n} ms pass")
def passes(story: Story, duration: int) -> None:
    story.pass_time(duration * MILLISECOND)


@verb("All nodes hold the same")
def same(story: Story) -> None:
    applied = {node.name: node.running.replicas[GROUP].applied for node in story.nodes}
    assert len(set(applied.values())) == 1, f"applied: {applied}"
    for node in story.nodes:
        node.running.replicas[GROUP].machine.compare()


@verb("A snapshot was sent to a node that had fallen behind")
def snapshot_sent(story: Story) -> None:
    assert story.world.counts["snapshot transfer"] > 0, "no snapshot was sent"


@verb("Every acknowledged message is received, once")
def all_received(story: Story) -> None:
    story.tell(story.receive(), within=10_000)
    missing = story.acknowledged - story.received
    assert not missing, f"{len(missing)} of {len(story.acknowledged)} messages are missing"
