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
    "clock leap",
    "duplicate send",
    "receive attempt repeated",
    "group blocked",
    "noisy group waited",
    "schedule cancelled",
    "message expired",
    "exchange",
    "dead letter carried",
    "parcel refused",
    "arrival repeated",
    "dead-letter queue found anew",
    "message moved",
    "message moved home",
    "move task completed",
    "move task failed",
)


def missing(counts: Mapping[str, int]) -> list[str]:
    return [name for name in REQUIRED if not counts.get(name)]
