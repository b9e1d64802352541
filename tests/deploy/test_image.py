"""The image is what the manifests count on: pinned, in two stages, not root, the broker as its entry point."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def instructions() -> list[tuple[str, str]]:
    """(keyword, argument) of every instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    pairs = (line.partition(" ") for line in lines if line.strip())
    return [(keyword, argument.strip()) for keyword, _, argument in pairs]


def test_both_stages_stand_on_the_same_pinned_slim_python(instructions: list[tuple[str, str]]) -> None:
    bases = [argument.split()[0] for keyword, argument in instructions if keyword == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


def test_the_broker_runs_as_an_unprivileged_user(instructions: list[tuple[str, str]]) -> None:
    last_stage = instructions[max(i for i, (keyword, _) in enumerate(instructions) if keyword == "FROM") :]
    assert ("USER", "10001:10001") in last_stage
    assert ("ENTRYPOINT", '["broker"]') in last_stage


def test_the_build_context_holds_what_is_copied(instructions: list[tuple[str, str]]) -> None:
    allowed = (ROOT / "deploy/Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    copied = [word for keyword, argument in instructions if keyword == "COPY" for word in argument.split()[:-1]]
    for name in (word for word in copied if not word.startswith(("/", "--"))):
        assert f"!{name}" in allowed
        assert (ROOT / name).exists()
