"""What a checker says when a promise of the broker was broken."""

from __future__ import annotations


class Violation(AssertionError):
    """``checker`` names the promise, ``story`` tells with names and numbers how it was broken."""

    def __init__(self, checker: str, story: str) -> None:
        super().__init__(f"{checker}: {story}")
        self.checker = checker
        self.story = story
