"""What many seeds together must have exercised: a simulator that stopped reaching something would pass in peace."""

from __future__ import annotations

from collections.abc import Mapping

REQUIRED = (
    "election",
    "pre-vote rejection",
    "log conflict",
    "snapshot write",
    "snapshot transfer",
    "restart from snapshot",
    "segment recycling",
    "compaction step",
    "torn tail cut",
    "leader crash",
    "asymmetric partition",
    "clock jump",
    "request retry deduplicated",
    "read index",
    "tick",
    "turns with more to apply",
)


def missing(counts: Mapping[str, int]) -> list[str]:
    return [name for name in REQUIRED if not counts.get(name)]
