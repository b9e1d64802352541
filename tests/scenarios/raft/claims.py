"""The verbs that say what must be true."""

from __future__ import annotations

from broker.base.ids import NodeId
from broker.raft.progress import PeerState
from broker.raft.types import Role
from tests.scenarios.raft.interpreter import Story, verb


def _is(actual: object, expected: object) -> None:
    assert actual == expected, f"it is {actual!r}"


@verb("{node} leads in term {n}")
def leads(story: Story, name: str, term: str) -> None:
    group = story.cluster[name].group
    _is((group.role.name, group.term), ("LEADER", int(term)))


@verb("{node} leads")
def leads_somehow(story: Story, name: str) -> None:
    _is(story.cluster[name].group.role, Role.LEADER)


@verb("Someone of {nodes} leads")
def someone_leads(story: Story, names: str) -> None:
    found = [name for name in names.split() if story.cluster[name].group.role is Role.LEADER]
    assert len(found) == 1, f"these lead: {found}"


@verb("Nobody of {nodes} leads")
def nobody_leads(story: Story, names: str) -> None:
    _is([name for name in names.split() if story.cluster[name].group.role is Role.LEADER], [])


@verb("{nodes} follows? {node}")
def follows(story: Story, names: str, leader: str) -> None:
    for name in names.split():
        group = story.cluster[name].group
        _is((name, group.role.name, group.leader), (name, "FOLLOWER", leader))


@verb("{node} knows no leader")
def leaderless(story: Story, name: str) -> None:
    _is(story.cluster[name].group.leader, None)


@verb("{node} is in term {n}")
def in_term(story: Story, name: str, term: str) -> None:
    _is(story.cluster[name].group.term, int(term))


@verb("{nodes} (?:has|have) applied {words}")
def applied(story: Story, names: str, payloads: str) -> None:
    expected = () if payloads == "nothing" else tuple(payload.encode() for payload in payloads.split())
    for name in names.split():
        _is((name, story.cluster[name].content), (name, expected))


@verb("{node}'s log has terms {numbers}")
def log_terms(story: Story, name: str, terms: str) -> None:
    _is(story.cluster[name].terms(), [int(term) for term in terms.split()])


@verb("{node} has committed up to {n}")
def committed(story: Story, name: str, index: str) -> None:
    _is(story.cluster[name].group.commit_index, int(index))


@verb("{node}'s log ends at {n}")
def ends_at(story: Story, name: str, index: str) -> None:
    _is(story.cluster[name].group.last_index, int(index))


@verb("{node}'s log begins at {n}")
def begins_at(story: Story, name: str, index: str) -> None:
    _is(story.cluster[name].group.first_index, int(index))


@verb("Read {n} at {node} is granted at {n}")
def granted(story: Story, token: str, name: str, index: str) -> None:
    _is(story.cluster[name].grants.get(int(token)), int(index))


@verb("Read {n} at {node} is refused")
def refused(story: Story, token: str, name: str) -> None:
    assert int(token) in story.cluster[name].refusals, "it is not"


@verb("Read {n} at {node} waits")
def waits(story: Story, token: str, name: str) -> None:
    replica = story.cluster[name]
    _is((replica.grants.get(int(token)), int(token) in replica.refusals), (None, False))


@verb("{node}'s members are {words}")
def members(story: Story, name: str, text: str) -> None:
    """``a b c``; a joint membership is ``a b c and before that c d e``; learners follow after ``with``."""
    found = story.cluster[name].group.membership
    said = " ".join(found.voters)
    said += " and before that " + " ".join(found.outgoing) if found.outgoing else ""
    said += " with " + " ".join(found.learners) if found.learners else ""
    _is(said, text)


@verb("{node} sees {node} in (probe|replicate|snapshot)")
def sees(story: Story, name: str, peer: str, state: str) -> None:
    _is(story.cluster[name].group.progress()[NodeId(peer)].state, PeerState(state))


@verb("{node} has {n} appends in flight to {node}")
def inflight(story: Story, name: str, count: str, peer: str) -> None:
    _is(story.cluster[name].group.progress()[NodeId(peer)].inflight, int(count))


@verb("{node} is not handing over")
def not_transferring(story: Story, name: str) -> None:
    _is(story.cluster[name].group.transferring_to, None)


@verb("{node} waits for a snapshot up to {n}")
def offered(story: Story, name: str, index: str) -> None:
    mark = story.cluster[name].offered
    _is(mark and mark.index, int(index))


@verb("{node} has nothing to wake for")
def idle(story: Story, name: str) -> None:
    _is(story.cluster[name].group.next_deadline(), None)


@verb("Since then {n} {node} messages were sent")
def sent(story: Story, count: str, kind: str) -> None:
    _is(sum(type(message).__name__ == kind for _, _, message in story.cluster.sent), int(count))
