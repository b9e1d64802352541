"""How places reach one another: what each way from one to another does to what is sent on it. Pure.

A place is a zone, or where the clients are. A way is one direction: cutting one of two ways is half a cut.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

CLIENTS = "clients"
"""The place of everybody who is no node."""


class Link(msgspec.Struct, frozen=True):
    """``delay``: milliseconds, one way. ``loss``: the share of packets that vanish, 0 - 1. ``cut``: all of them do."""

    delay: float = 0.0
    loss: float = 0.0
    cut: bool = False


SOUND = Link()
CUT = Link(cut=True)


class Links(msgspec.Struct, frozen=True):
    """``ways``: by "from>to"; what is not named is sound."""

    ways: dict[str, Link] = {}

    def way(self, source: str, target: str) -> Link:
        return self.ways.get(_way(source, target), SOUND)


ALL_SOUND = Links()


def between_zones(zones: Iterable[str], link: Link) -> Links:
    """Every way from one zone to another is like ``link``; clients are near to all."""
    places = list(zones)
    return Links({_way(one, other): link for one in places for other in places if one != other})


def cut_off(zone: str, others: Iterable[str]) -> Links:
    """Nothing goes from ``zone`` to ``others`` or back."""
    return Links({way: CUT for other in others for way in (_way(zone, other), _way(other, zone))})


def mute(zone: str, others: Iterable[str]) -> Links:
    """Nothing goes from ``zone`` to ``others``; it hears all they say."""
    return Links({_way(zone, other): CUT for other in others})


def deaf(zone: str, others: Iterable[str]) -> Links:
    """Nothing goes from ``others`` to ``zone``; they hear all it says."""
    return Links({_way(other, zone): CUT for other in others})


def _way(source: str, target: str) -> str:
    return f"{source}>{target}"
