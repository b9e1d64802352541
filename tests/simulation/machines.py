"""Which rooms a group has: the product's own wiring, made by hand so that the simulator needs no node."""

from __future__ import annotations

from broker.base.ids import DIRECTORY_GROUP, GroupId
from broker.domain.directory.machine import DirectoryMachine
from broker.domain.identity.machine import IdentityMachine
from broker.domain.queues.machine import QueueMachine
from broker.machine.replicated import ReplicatedMachine
from tests.simulation.court import DIRECTORY, QUEUES


def machine_of(group: GroupId) -> ReplicatedMachine:
    """An empty machine."""
    if group == DIRECTORY_GROUP:
        return ReplicatedMachine({DIRECTORY: DirectoryMachine(), "identity": IdentityMachine()})
    return ReplicatedMachine({QUEUES: QueueMachine()})
