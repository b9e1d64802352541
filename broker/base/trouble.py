"""What is wrong with this node for as long as it is: named conditions, each a sentence that an operator can act on.

Whoever finds a condition sets it and clears it; status, metrics and logs read them. Knows nothing of what they are.
"""

from __future__ import annotations


class Trouble:
    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}

    def set(self, name: str, sentence: str) -> bool:
        """Whether it is news: the condition was not set, or read otherwise. ``name`` says what kind it is and of what,
        such as "disk-full" or "damaged-group-5"."""
        known = self._sentences.get(name)
        self._sentences[name] = sentence
        return known != sentence

    def clear(self, name: str) -> bool:
        """Whether it was set."""
        return self._sentences.pop(name, None) is not None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._sentences))

    @property
    def sentences(self) -> tuple[str, ...]:
        """By name."""
        return tuple(self._sentences[name] for name in self.names)
