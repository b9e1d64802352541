"""The documents do not drift from the code: links lead somewhere, every setting is described with its default."""

from __future__ import annotations

import re

import msgspec
import pytest

from broker.base.errors import Refusal
from broker.edge.grpc.errors import STATUS_BY_CODE
from broker.node.settings import NodeSettings
from tests.architecture.sources import ROOT, project_sources

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
README_LINES = 45


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(document: object) -> None:
    path = ROOT / str(document)
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (path.parent / target).exists()]
    assert not missing


def test_every_setting_is_described_with_its_default() -> None:
    text = (ROOT / "docs/operations/configuration.md").read_text(encoding="utf-8")
    described = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, flags=re.MULTILINE))
    assert set(described) == set(NodeSettings.__struct_fields__)
    for field in msgspec.structs.fields(NodeSettings):
        if field.default is msgspec.NODEFAULT or field.default in ("", ()):
            continue
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert described[field.name] == f"`{default}`", field.name


def test_described_metrics_exist() -> None:
    text = (ROOT / "docs/operations/watching.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`((?:broker|grpc)_\w+?)(?:_total|_bucket)?[`{]", text))
    code = "\n".join(source.text for source in project_sources() if source.path.startswith("broker/"))
    missing = [name for name in described if f'"{name}"' not in code and f'"{name.rpartition("_")[0]}_{{' not in code]
    assert len(described) > 10
    assert not missing


def test_every_error_is_described_with_its_status() -> None:
    text = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (yes|no) \|", text, flags=re.MULTILINE)
    expected = {
        (code, STATUS_BY_CODE[code].name, "yes" if Refusal(code, "").to_error().retryable else "no")
        for code in STATUS_BY_CODE
    }
    assert sorted(described) == sorted(expected)


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [page for page in sorted(folder.glob("*.md")) if page.name != "README.md"]
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    assert all(f"({page.name})" in index for page in pages)


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES
