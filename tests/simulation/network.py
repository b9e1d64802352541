"""The lines between nodes: latency, partitions by direction, and connections that end in the ways connections end.

In a well-behaved seed a connection is like TCP: frames arrive in order or not at all, and what is sent into a partition
arrives after it unless the connection was given up first. In an unruly seed single frames are also lost, doubled and
overtaken, which consensus must bear although our transport never does it.

A peer is reported as closed only when its process has ended; silence is reported as loss of the line.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from tests.simulation.rates import Rates
from tests.simulation.world import MILLISECOND, SECOND, World

SILENCE = 2 * SECOND
"""After hearing nothing for so long, a node gives a connection up."""

_RECONNECT_EVERY = 100 * MILLISECOND


class Endpoint(Protocol):
    """A node as its lines see it. ``incarnation`` grows with every start of its process."""

    name: str
    incarnation: int

    @property
    def up(self) -> bool: ...
    def frame_arrived(self, peer: str, payload: bytes) -> None: ...
    def peer_lost(self, peer: str, closed: bool) -> None: ...


class Connection:
    """One connection between two processes; each end learns of its end for itself."""

    __slots__ = ("arrives", "incarnations", "open", "stalled")

    def __init__(self, a: Endpoint, b: Endpoint) -> None:
        self.open = {a.name: True, b.name: True}
        self.incarnations = {a.name: a.incarnation, b.name: b.incarnation}
        self.arrives = {a.name: 0, b.name: 0}
        """Per receiver, when the last frame under way to it arrives: nothing overtakes it."""
        self.stalled: dict[str, list[bytes | None]] = {a.name: [], b.name: []}
        """Per receiver, what waits for the end of a partition; None is the end of the connection itself."""


class Network:
    def __init__(self, world: World, rates: Rates) -> None:
        self._world = world
        self._rates = rates
        self._chance = world.chance("network")
        self._ends: dict[str, Endpoint] = {}
        self._connections: dict[frozenset[str], Connection] = {}
        self._blocked: Counter[tuple[str, str]] = Counter()
        self._block_stamps: dict[tuple[str, str], int] = {}

    def join(self, end: Endpoint) -> None:
        self._ends[end.name] = end
        for other in self._ends.values():
            if other is not end:
                self._world.after(1, self._connect, end.name, other.name)

    # --- nodes

    def send(self, source: str, target: str, payload: bytes) -> bool:
        connection = self._connections.get(frozenset((source, target)))
        if connection is None or not connection.open[source]:
            self._world.counts["frames not sent"] += 1
            return False
        self._world.counts["frames"] += 1
        if self._rates.loss and self._chance.random() < self._rates.loss:
            self._world.counts["frames lost"] += 1
            return True
        if self._blocked[source, target]:
            connection.stalled[target].append(payload)
            return True
        self._carry(connection, source, target, payload)
        if self._rates.duplication and self._chance.random() < self._rates.duplication:
            self._world.counts["frames doubled"] += 1
            self._carry(connection, source, target, payload)
        return True

    def connected(self, source: str, target: str) -> bool:
        connection = self._connections.get(frozenset((source, target)))
        return connection is not None and connection.open[source]

    def peers(self, source: str) -> list[str]:
        """To whom ``source`` has a connection."""
        return [name for name in self._ends if name != source and self.connected(source, name)]

    def passable(self, source: str, target: str) -> bool:
        """Whether bytes get through at this moment, both ways: what a connection of its own needs."""
        return not self._blocked[source, target] and not self._blocked[target, source]

    def latency(self) -> int:
        return self._rates.latency + int(self._chance.expovariate(1.0) * self._rates.jitter)

    def process_ended(self, name: str, quietly: bool) -> None:
        """``quietly``: the machine lost its power, nobody is told."""
        for pair, connection in self._connections.items():
            if name not in pair or not connection.open[name]:
                continue
            (other,) = pair - {name}
            connection.open[name] = False
            if quietly:
                self._world.after(SILENCE, self._give_up, connection, other, name)
            elif self._blocked[name, other]:
                connection.stalled[other].append(None)
            else:
                self._carry(connection, name, other, None)

    def process_started(self, name: str) -> None:
        for other in self._ends:
            if other != name:
                self._world.after(self.latency() * 2, self._connect, name, other)

    # --- faults

    def block(self, source: str, target: str) -> None:
        self._blocked[source, target] += 1
        if self._blocked[source, target] == 1:
            stamp = self._block_stamps[source, target] = self._world.now
            self._world.note("block", source, target)
            self._world.after(SILENCE, self._silent, source, target, stamp)

    def unblock(self, source: str, target: str) -> None:
        if self._blocked[source, target] == 0:
            return  # everything was healed meanwhile
        self._blocked[source, target] -= 1
        if self._blocked[source, target]:
            return
        self._world.note("unblock", source, target)
        connection = self._connections.get(frozenset((source, target)))
        if connection is not None:
            stalled, connection.stalled[target] = connection.stalled[target], []
            for payload in stalled:
                self._carry(connection, source, target, payload)

    def behave(self) -> None:
        """No more faults from now on."""
        for source, target in [pair for pair, blocks in self._blocked.items() if blocks]:
            self._blocked[source, target] = 1
            self.unblock(source, target)
        self._rates = Rates(latency=min(self._rates.latency, 1_000), jitter=min(self._rates.jitter, 1_000))

    # --- inside

    def _carry(self, connection: Connection, source: str, target: str, payload: bytes | None) -> None:
        arrival = self._world.now + self.latency()
        overtakes = self._rates.reordering and self._chance.random() < self._rates.reordering
        if overtakes and payload is not None:
            self._world.counts["frames reordered"] += 1
            arrival += self.latency() * 5
        else:
            arrival = connection.arrives[target] = max(arrival, connection.arrives[target])
        self._world.at(arrival, self._arrive, connection, source, target, payload)

    def _arrive(self, connection: Connection, source: str, target: str, payload: bytes | None) -> None:
        if not connection.open[target]:
            return
        end = self._ends[target]
        if payload is not None:
            end.frame_arrived(source, payload)
            return
        connection.open[target] = False
        end.peer_lost(source, True)

    def _silent(self, source: str, target: str, stamp: int) -> None:
        """``target`` has heard nothing from ``source`` since the partition began."""
        if not self._blocked[source, target] or self._block_stamps[source, target] != stamp:
            return
        connection = self._connections.get(frozenset((source, target)))
        if connection is not None:
            self._give_up(connection, target, source)
            if not self._blocked[target, source]:
                self._world.after(self.latency(), self._give_up, connection, source, target)

    def _give_up(self, connection: Connection, here: str, there: str) -> None:
        if connection.open[here]:
            connection.open[here] = False
            self._ends[here].peer_lost(there, False)
            self._world.after(_RECONNECT_EVERY, self._connect, here, there)

    def _connect(self, here: str, there: str) -> None:
        """``here`` dials, and goes on dialling until there is a connection or its process has ended."""
        end, other = self._ends[here], self._ends[there]
        if not end.up:
            return
        pair = frozenset((here, there))
        old = self._connections.get(pair)
        if old is not None and old.open[here]:
            return
        if not other.up or not self.passable(here, there):
            self._world.after(_RECONNECT_EVERY, self._connect, here, there)
            return
        if old is not None and old.open[there]:
            old.open[there] = False
            other.peer_lost(here, old.incarnations[here] != end.incarnation)
        self._connections[pair] = Connection(end, other)
        self._world.note("connected", here, there)
