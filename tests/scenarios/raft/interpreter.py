"""Reads a story and plays it. One sentence a line; a verb is a pattern and the small function that acts on it.

A line that no verb understands fails, and so does every claim that is not true. ``#`` begins a remark.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from broker.raft.types import RaftConfig
from tests.scenarios.raft.cluster import Cluster

_PLACES = {"node": r"(\w+)", "nodes": r"(\w+(?: \w+)*)", "n": r"(\d+)", "words": r"(.+)", "numbers": r"([\d ]+)"}
_verbs: list[tuple[re.Pattern[str], Callable[..., None]]] = []


class Story:
    """What a scenario is about so far."""

    def __init__(self) -> None:
        self.config = RaftConfig()
        self._cluster: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "a story begins by naming its replicas"
        return self._cluster

    def begin(self, voters: list[str]) -> None:
        self._cluster = Cluster(voters, self.config)


def verb(pattern: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``{node}``, ``{nodes}``, ``{n}``, ``{numbers}`` and ``{words}`` in the pattern become the arguments."""
    expression = re.sub(r"\{(\w+)\}", lambda place: _PLACES[place[1]], pattern)

    def register(act: Callable[..., None]) -> Callable[..., None]:
        _verbs.append((re.compile(expression), act))
        return act

    return register


def verbs() -> list[tuple[re.Pattern[str], Callable[..., None]]]:
    return list(_verbs)


def play(path: Path) -> None:
    """Raises AssertionError that names the file and the line."""
    story = Story()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        sentence = line.partition("#")[0].strip().removesuffix(".")
        if not sentence:
            continue
        try:
            _act(story, sentence)
        except AssertionError as error:
            raise AssertionError(f"{path.name}:{number}: {sentence}\n    {error}") from error


def _act(story: Story, sentence: str) -> None:
    for pattern, act in _verbs:
        if found := pattern.fullmatch(sentence):
            act(story, *found.groups())
            return
    raise AssertionError("no verb understands this sentence")
