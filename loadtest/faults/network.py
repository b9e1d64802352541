"""Where the nodes of a cluster under test live, and what lies between them.

``namespaces`` and ``loopback`` are the two ways to make one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from loadtest.faults.links import Links


class NetworkError(Exception):
    """The network could not be made, or is gone; the message says what refused."""


class Network(Protocol):
    """To be opened once and closed in any case; closing removes every trace of it."""

    name: str

    def open(self, places: Mapping[str, str]) -> None:
        """``places``: the zone of each node. Raises NetworkError."""

    def own(self, node: str) -> str:
        """The address on which ``node`` listens."""

    def seen(self, node: str) -> str:
        """The address by which all others reach it."""

    def prefix(self, node: str) -> tuple[str, ...]:
        """What a command line begins with that is to run where ``node`` lives."""

    def arguments(self, node: str) -> tuple[str, ...]:
        """What the program that runs ``node`` is to be told, for the network's sake."""

    def shape(self, links: Links) -> None:
        """From now on, instead of what held before. Raises NetworkError."""

    def close(self) -> None: ...
