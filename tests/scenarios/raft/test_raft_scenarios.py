"""Every story in this folder, played."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.raft import claims, deeds, interpreter

_STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", _STORIES, ids=lambda path: path.stem)
def test_the_story_is_true(path: Path) -> None:
    interpreter.play(path)


def test_a_false_claim_and_an_unknown_verb_are_told_with_file_and_line(tmp_path: Path) -> None:
    false = tmp_path / "false.txt"
    false.write_text("There are replicas a b c.\na leads.\n")
    with pytest.raises(AssertionError, match=r"false\.txt:2: a leads"):
        interpreter.play(false)
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("There are replicas a b c.\na sings.\n")
    with pytest.raises(AssertionError, match="no verb understands"):
        interpreter.play(unknown)


def test_every_verb_is_told_in_some_story() -> None:
    told = "\n".join(path.read_text() for path in _STORIES)
    unused = [act.__name__ for pattern, act in interpreter.verbs() if not _occurs(pattern, told)]
    assert deeds
    assert claims
    assert unused == []


def _occurs(pattern: object, told: str) -> bool:
    return any(pattern.fullmatch(line.partition("#")[0].strip().removesuffix(".")) for line in told.splitlines())  # type: ignore[attr-defined]
