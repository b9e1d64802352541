"""The project's own source files, parsed once, as the architecture rules see them.

Knows where the sources are and which of them are generated; knows no rule.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREES = ("broker", "loadtest", "proto", "tests")
GENERATED = "broker/pb/"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file. ``path`` is relative to the repository, with forward slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def line_count(self) -> int:
        return len(self.text.splitlines())

    @property
    def name(self) -> str:
        return Path(self.path).stem

    @property
    def parts(self) -> tuple[str, ...]:
        return Path(self.path).with_suffix("").parts

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node


@lru_cache(maxsize=1)
def project_sources() -> tuple[Source, ...]:
    """Every hand-written Python file of the project, by path."""
    found = []
    for tree in TREES:
        for path in sorted((ROOT / tree).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if not relative.startswith(GENERATED):
                found.append(Source(relative, path.read_text(encoding="utf-8")))
    return tuple(found)
