"""Retried requests: applied at most once, and what was acknowledged is what was applied."""

from __future__ import annotations

from typing import Any

from broker.base.errors import Refusal
from tests.simulation.checkers.violation import Violation

Request = tuple[bytes, int]


class AppliedOnce:
    """``repeated`` says that a command was seen before; its reply must then be the remembered one."""

    name = "a request is applied at most once"

    def __init__(self) -> None:
        self._first: dict[tuple[int, Request], tuple[int, Any]] = {}
        self.repeats = 0

    def applied(self, group: int, index: int, request: Request, reply: Any) -> bool:
        """True for the first application."""
        first = self._first.get((group, request))
        if first is None:
            self._first[group, request] = (index, reply)
            return True
        self.repeats += 1
        if type(reply) is Refusal:
            return False  # so late a copy that its reply is forgotten: it is refused, not applied
        if first[1] != reply:
            raise Violation(
                self.name,
                f"request {request[1]} of session {request[0].hex()} in group {group} was applied at {first[0]} with "
                f"{first[1]} and again at {index} with {reply}",
            )
        return False

    def reply_of(self, group: int, request: Request) -> Any:
        first = self._first.get((group, request))
        return None if first is None else first[1]

    def acknowledged(self, group: int, request: Request, reply: Any) -> None:
        applied = self.reply_of(group, request)
        if applied != reply and type(reply) is not Refusal:
            raise Violation(
                "an acknowledgement tells what was applied",
                f"request {request[1]} of session {request[0].hex()} in group {group} was answered {reply}; applied "
                f"was {applied}",
            )
