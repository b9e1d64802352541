"""Addresses of the loopback interface for every node, joined by a proxy that can be cut. Implements Network.

For where namespaces are not permitted. A node listens on 127.77.1.x and is reached by 127.77.2.x, where ``proxy`` takes
its connections. What is cut is held, not lost: a proxy carries streams, not packets, and a lost packet is to a stream
no more than a delay. ``node`` makes connections from its own address, so that the proxy knows whose they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.faults.carrier import Carrier
from loadtest.faults.links import Links

OWN = "127.77.1"
SEEN = "127.77.2"
_FIRST = 10


class LoopbackNetwork:
    name = "loopback addresses and a proxy"

    def __init__(self, ports: tuple[int, ...]) -> None:
        """``ports``: on which every node is to be reached."""
        self._ports = ports
        self._places: dict[str, str] = {}
        self._carrier: Carrier | None = None

    def open(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        ends = [f"{self.own(node)}:{self.seen(node)}:{place}" for node, place in places.items()]
        ports = ",".join(map(str, self._ports))
        self._carrier = Carrier("loadtest.faults.proxy", [ports, *ends])

    def own(self, node: str) -> str:
        return f"{OWN}.{_FIRST + list(self._places).index(node)}"

    def seen(self, node: str) -> str:
        return f"{SEEN}.{_FIRST + list(self._places).index(node)}"

    def prefix(self, _node: str) -> tuple[str, ...]:
        return ()

    def arguments(self, node: str) -> tuple[str, ...]:
        return ("--from", self.own(node))

    def shape(self, links: Links) -> None:
        assert self._carrier is not None
        self._carrier.shape(links)

    def close(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None
