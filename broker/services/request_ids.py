"""Request ids for calls that came without one, so that every retry inside the cluster is safe.

A machine remembers the replies to the last ``limits.SESSION_WINDOW`` numbers of a session. A *lane* is a session with
at most one call outstanding, so however many calls run at once, no number ever falls out of its window.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from broker.machine.envelope import RequestId

SESSION_BYTES = 16


class RequestIds:
    """``random_bytes(n)``: n bytes nobody can guess or repeat."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._free: list[RequestId] = []

    def take(self) -> RequestId:
        """An id never used before. Give it back when its call has ended, whatever the outcome."""
        if self._free:
            last = self._free.pop()
            return RequestId(last.session, last.number + 1)
        return RequestId(self._random_bytes(SESSION_BYTES), 1)

    def give_back(self, used: RequestId) -> None:
        self._free.append(used)


def further(request: RequestId, step: int) -> RequestId:
    """The id of a further command, from 1, of the call made under ``request``: the same whenever the call is repeated,
    so that it takes the same steps again and finds each one's reply remembered."""
    name = request.session + request.number.to_bytes(8, "big")
    return RequestId(blake2b(name, digest_size=SESSION_BYTES).digest(), step)
