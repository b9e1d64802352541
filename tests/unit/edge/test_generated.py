"""The committed protobuf modules are what the .proto files generate."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_regeneration_changes_nothing(tmp_path: Path) -> None:
    generate = runpy.run_path(str(ROOT / "proto" / "generate.py"))["generate"]
    generate(tmp_path)
    made, committed = tmp_path / "broker" / "pb", ROOT / "broker" / "pb"

    names = sorted(path.relative_to(made) for path in made.rglob("*.py*"))
    assert len(names) >= 12
    for name in names:
        assert (committed / name).read_text() == (made / name).read_text(), f"{name} is out of date: run make proto"
    kept = {path.relative_to(committed) for path in committed.rglob("*_pb2*.py*") if "__pycache__" not in path.parts}
    assert kept <= set(names), "modules of .proto files that are gone"
