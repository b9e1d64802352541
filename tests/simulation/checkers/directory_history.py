"""What clients asked of the directory and were told, name by name, is what one copy of it could have answered, one call
at a time, each somewhere between its beginning and its end (linearizability: Herlihy and Wing 1990).

Found out by search, as Wing and Gong (1993) do it, with Lowe's (2017) memory of places that lead nowhere.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.simulation.checkers.violation import Violation

CREATING, ACTIVE, DELETING = "creating", "active", "deleting"
REFUSED = ("refused",)
DONE = ("done",)

_NEVER = 1 << 62

State = tuple[Any, str] | None
"""Id and phase of what has the name. An id that nobody was told is a negative number."""


class Call(msgspec.Struct):
    """``told`` None: nobody knows what came of it, or when. ``id``: of what the call was about, if it was."""

    number: int
    kind: str
    id: int
    began: int
    ended: int = _NEVER
    told: tuple[Any, ...] | None = None


class DirectoryHistory:
    name = "the directory is linearizable"

    def __init__(self) -> None:
        self._calls: dict[str, list[Call]] = {}

    @property
    def checked(self) -> int:
        return sum(len(calls) for calls in self._calls.values())

    def began(self, name: str, kind: str, now: int, identity: int = 0) -> Call:
        calls = self._calls.setdefault(name, [])
        calls.append(Call(len(calls) + 1, kind, identity, now))
        return calls[-1]

    def judge(self) -> None:
        for name, calls in self._calls.items():
            stuck = _search([call for call in calls if call.told is not None or call.kind != "find"])
            if stuck:
                raise Violation(self.name, f"no order of the calls about {name} explains them; at most up to: {stuck}")


def _search(calls: list[Call]) -> str:
    """Empty if there is an order; else the calls that fit least well."""
    begun_in_order = sorted(calls, key=lambda call: call.began)
    everything = sum(1 << place for place, call in enumerate(begun_in_order) if call.told is not None)
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, None)]
    furthest, open_calls = -1, ""
    while stack:
        done, state = stack.pop()
        if done & everything == everything:
            return ""
        able = _able(begun_in_order, done)
        if done.bit_count() > furthest:
            furthest, open_calls = done.bit_count(), f"{state}, then one of {[begun_in_order[at] for at in able]}"
        for place in able:
            possible, following = after(state, begun_in_order[place])
            step = (done | 1 << place, following)
            if possible and step not in seen:
                seen.add(step)
                stack.append(step)
    return open_calls


def _able(calls: list[Call], done: int) -> list[int]:
    """Those that may come next: begun before any other that is missing has ended."""
    able: list[int] = []
    first_end = _NEVER
    for place, call in enumerate(calls):
        if done >> place & 1:
            continue
        if call.began > first_end:
            break
        able.append(place)
        first_end = min(first_end, call.ended)
    return [place for place in able if calls[place].began <= first_end]


def after(state: State, call: Call) -> tuple[bool, State]:
    """Whether the call can have been answered so in that state, and the state then."""
    return _RULES[call.kind](state, call)


def _place(state: State, call: Call) -> tuple[bool, State]:
    told = call.told
    if state is None:
        if told is None:
            return True, (-call.number, CREATING)
        return told[0] == "placed" and told[2], (told[1], CREATING) if told[0] == "placed" else None
    if told is None:
        return True, state
    if state[1] == DELETING:
        return told == REFUSED, state
    return told[0] == "placed" and not told[2] and _same(state[0], told[1]), (told[1] if len(told) > 1 else 0, state[1])


def _find(state: State, call: Call) -> tuple[bool, State]:
    if call.told is None:
        return True, state
    (found,) = call.told
    if state is None or state[1] == DELETING:
        return found is None, state
    fits = found is not None and _same(state[0], found[0]) and found[1] == state[1]
    return fits, (found[0], state[1]) if fits else state


def _activate(state: State, call: Call) -> tuple[bool, State]:
    able = state is not None and _same(state[0], call.id) and state[1] != DELETING
    return call.told in (None, DONE if able else REFUSED), (call.id, ACTIVE) if able else state


def _retire(state: State, call: Call) -> tuple[bool, State]:
    able = state is not None and _same(state[0], call.id)
    return call.told in (None, DONE if able else REFUSED), (call.id, DELETING) if able else state


def _forget(state: State, call: Call) -> tuple[bool, State]:
    if state is None or not _same(state[0], call.id):
        return call.told in (None, DONE), state
    gone = state[1] == DELETING
    return call.told in (None, DONE if gone else REFUSED), None if gone else state


def _same(known: int, told: int) -> bool:
    """What nobody was told may be anything that was not known before."""
    return known == told or known < 0


_RULES = {"place": _place, "find": _find, "activate": _activate, "retire": _retire, "forget": _forget}
