"""The verbs that make something happen."""

from __future__ import annotations

import msgspec

from broker.base.ids import Index, NodeId
from broker.raft.events import Campaign, ChangeMembership, PeerUnreachable, Propose, Read, TransferLeadership
from broker.raft.types import Membership
from tests.scenarios.raft.interpreter import Story, verb


@verb("There are replicas {nodes}")
def replicas(story: Story, names: str) -> None:
    story.begin(names.split())


@verb("Reads use the lease")
def lease(story: Story) -> None:
    story.config = msgspec.structs.replace(story.config, lease_reads=True)


@verb("An append holds at most {n} bytes and {n} may be in flight")
def window(story: Story, size: str, count: str) -> None:
    story.config = msgspec.structs.replace(story.config, max_append_bytes=int(size), max_inflight_appends=int(count))


@verb("{node} joins empty")
def join(story: Story, name: str) -> None:
    story.cluster.add(name)


@verb("{node} is in term {n} and its log has terms {numbers}")
def give_log(story: Story, name: str, term: str, terms: str) -> None:
    story.cluster.give_log(name, [int(number) for number in terms.split()], int(term))


@verb("{node} campaigns")
def campaign(story: Story, name: str) -> None:
    story.cluster.feed(name, Campaign())


@verb("{n} ms pass")
def passes(story: Story, duration: str) -> None:
    story.cluster.run(int(duration))


@verb("{node} is asked to append {n} entries of {n} bytes")
def propose_many(story: Story, name: str, count: str, size: str) -> None:
    story.cluster.feed(name, Propose([b"%0*d" % (int(size), number) for number in range(int(count))]))


@verb("{node} is asked to append {words}")
def propose(story: Story, name: str, payloads: str) -> None:
    story.cluster.feed(name, Propose([payload.encode() for payload in payloads.split()]))


@verb("{node} is asked to read as {n}")
def read(story: Story, name: str, token: str) -> None:
    story.cluster.feed(name, Read(int(token)))


@verb("{nodes} (?:is|are) cut off")
def cut_off(story: Story, names: str) -> None:
    """From everyone that is not named too."""
    inside = names.replace(" and ", " ").split()
    for other in story.cluster.replicas:
        if other not in inside:
            story.cluster.cut |= {pair for name in inside for pair in ((name, other), (other, name))}


@verb("{node} cannot reach {node}")
def cut_one_way(story: Story, sender: str, receiver: str) -> None:
    story.cluster.cut.add((sender, receiver))


@verb("The network heals")
def heal(story: Story) -> None:
    story.cluster.cut.clear()
    story.cluster.lost_kinds.clear()


@verb("Every {node} is lost")
def lose_kind(story: Story, kind: str) -> None:
    story.cluster.lost_kinds.add(kind)


@verb("Messages are held back")
def hold(story: Story) -> None:
    story.cluster.holding = True


@verb("Messages arrive in reverse")
def reverse(story: Story) -> None:
    story.cluster.wires.reverse()
    story.cluster.holding = False
    story.cluster.flow()


@verb("Messages arrive")
def release(story: Story) -> None:
    story.cluster.holding = False
    story.cluster.flow()


@verb("Messages arrive twice")
def duplicate(story: Story) -> None:
    story.cluster.wires.extend(list(story.cluster.wires))
    story.cluster.holding = False
    story.cluster.flow()


@verb("{node}'s disk stalls")
def stall(story: Story, name: str) -> None:
    story.cluster[name].syncs_at_once = False


@verb("{node}'s disk catches up")
def catch_up(story: Story, name: str) -> None:
    replica = story.cluster[name]
    replica.syncs_at_once = True
    replica.sync(story.cluster.now)
    story.cluster.flow()


@verb("{node} is killed")
def kill(story: Story, name: str) -> None:
    story.cluster.crash(name, noticed=True)


@verb("{node} vanishes")
def vanish(story: Story, name: str) -> None:
    story.cluster.crash(name, noticed=False)


@verb("{node} restarts")
def restart(story: Story, name: str) -> None:
    story.cluster.restart(name)


@verb("{node} learns that {node} is unreachable")
def unreachable(story: Story, name: str, peer: str) -> None:
    story.cluster.feed(name, PeerUnreachable(NodeId(peer)))


@verb("{node} is asked to hand over to {node}")
def transfer(story: Story, name: str, heir: str) -> None:
    story.cluster.feed(name, TransferLeadership(NodeId(heir)))


@verb("{node} is asked to move to voters {nodes} with learners {nodes}")
def change_with_learners(story: Story, name: str, voters: str, learners: str) -> None:
    target = Membership(
        tuple(NodeId(voter) for voter in voters.split()), (), tuple(NodeId(learner) for learner in learners.split())
    )
    story.cluster.feed(name, ChangeMembership(target))


@verb("{node} is asked to move to voters {nodes}")
def change(story: Story, name: str, voters: str) -> None:
    story.cluster.feed(name, ChangeMembership(Membership(tuple(NodeId(voter) for voter in voters.split()))))


@verb("{node} compacts up to {n} keeping from {n}")
def compact(story: Story, name: str, index: str, keep_from: str) -> None:
    story.cluster[name].compact(int(index), Index(int(keep_from)), story.cluster.now)


@verb("The snapshot reaches {node}")
def snapshot_arrives(story: Story, name: str) -> None:
    story.cluster.carry_snapshot(name, ok=True)


@verb("The snapshot for {node} is lost")
def snapshot_lost(story: Story, name: str) -> None:
    story.cluster.carry_snapshot(name, ok=False)


@verb("Messages are counted from here")
def count_messages(story: Story) -> None:
    story.cluster.sent.clear()
