"""What many seeds together must have exercised: a simulator that stopped reaching something would pass in peace."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

REQUIRED = (
    "election",
    "pre-vote rejection",
    "log conflict",
    "snapshot write",
    "snapshot transfer",
    "restart from snapshot",
    "compaction step",
    "torn tail cut",
    "leader crash",
    "asymmetric partition",
    "fault: clock jump",
    "request retry deduplicated",
    "read index",
    "tick",
    "turns with more to apply",
    "fault: clock leap",
    "fault: lost disk",
    "fault: lost disk of a forming group",
    "fault: rot",
    "fault: full disk",
    "fault: zone cut",
    "fault: zone down",
    "fault: split at a change",
    "fault: crash at a change",
    "healing: lost replica given back",
    "healing: replica moved",
    "healing: step Formed",
    "healing: step Retire",
    "healing: step Drop",
    "damage found",
    "last batch rotted",
    "directory set aside",
    "commit without room",
    "snapshot without room",
    "stamps compared",
    "calls of the directory compared",
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


def table(met: Mapping[tuple[str, str], int]) -> Table:
    """Which faults found which calls and states under way, and how often."""
    faults = sorted({fault for fault, _ in met})
    found = Table("under way", title="what the faults met", show_lines=False, padding=(0, 0))
    for fault in faults:
        found.add_column(fault.replace(" ", "\n"), justify="right")
    for what in sorted({what for _, what in met}):
        found.add_row(what, *(_short(met.get((fault, what), 0)) for fault in faults))
    return found


def unmet(met: Mapping[tuple[str, str], int]) -> list[str]:
    """Faults that never met one of the states."""
    faults = sorted({fault for fault, _ in met})
    states = sorted({what for _, what in met if what.startswith("~")})
    return [f"{fault} x {state[2:]}" for fault in faults for state in states if not met.get((fault, state))]


def _short(count: int) -> str:
    if not count:
        return "\u00b7"
    return str(count) if count < 10_000 else f"{count // 1_000}k"
