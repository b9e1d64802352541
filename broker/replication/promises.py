"""Who waits for which log index: the link from a committed entry back to the caller that proposed it.

Knows tokens, not futures. A promise is kept only when the entry at its index has the term in which it was proposed;
another leader's entry there means the proposal was replaced and never happened.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.base.ids import Index, Term


class Promises:
    def __init__(self) -> None:
        self._by_index: dict[Index, tuple[Term, int]] = {}

    def __len__(self) -> int:
        return len(self._by_index)

    def make(self, index: Index, term: Term, token: int) -> None:
        self._by_index[index] = (term, token)

    def keep(self, index: Index, term: Term) -> tuple[int, bool] | None:
        """The token promised at ``index`` and whether the entry is the promised one; None if nobody waits."""
        promise = self._by_index.pop(index, None)
        if promise is None:
            return None
        return promise[1], promise[0] == term

    def break_all(self) -> Iterator[int]:
        """Tokens of all promises, in log order; none is left."""
        promises, self._by_index = self._by_index, {}
        return (token for _, token in promises.values())
