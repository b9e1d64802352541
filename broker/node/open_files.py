"""How many files and connections this process may have open: raised as far as the system lets it."""

from __future__ import annotations

import sys

from broker.telemetry import logs

if sys.platform != "win32":
    import resource

_log = logs.get(__name__)

RESERVED = 1_000
"""For the log's segments, snapshots, peers, probes."""
_UNKNOWN = 1_024
"""What is assumed where the system does not tell."""


def raise_limit() -> int:
    """The limit as it is afterwards; what a parent process or a service manager forbids stays forbidden."""
    if sys.platform == "win32":
        return _UNKNOWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError) as error:  # macOS refuses more than the kernel's own limit
            _log.warning("the limit of open files could not be raised", limit=soft, reason=str(error))
    return soft


def client_connections(wanted: int, limit: int) -> int:
    """How many clients may connect under a limit of open files; says so when that is fewer than wanted."""
    possible = max(limit - RESERVED, limit // 2)
    if possible >= wanted:
        return wanted
    _log.warning(
        "fewer clients can connect than the node is made for: raise the limit of open files (ulimit -n)",
        limit=limit,
        connections=possible,
        needed=wanted + RESERVED,
    )
    return possible
