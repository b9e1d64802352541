"""The import contracts of pyproject.toml hold, and a planted import breaks the contract that guards against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

PLANTED = [
    ("broker/base/planted.py", "import broker.raft.types", "Floors"),
    ("broker/raft/planted.py", "import time", "Pure floors"),
    ("broker/machine/planted.py", "import broker.aio.tasks", "Pure floors"),
    ("broker/domain/queues/planted.py", "import broker.domain.directory.planted", "Rooms of the domain"),
    ("broker/domain/directory/planted.py", "import asyncio", "Pure floors"),
    ("broker/replication/planted.py", "import broker.domain.queues.commands", "Replication, storage and transport"),
    ("broker/services/planted.py", "import broker.pb.queues.v1.queues_pb2", "speak protobuf"),
    ("broker/node/planted.py", "import grpc", "speak gRPC"),
    ("broker/services/planted_too.py", "import pickle", "Nothing is pickled"),
    ("broker/client/planted.py", "import broker.machine.contract", "The client library"),
]
CYCLE = {
    "broker/storage/planted.py": "from broker.storage import planted_too",
    "broker/storage/planted_too.py": "from broker.storage import planted",
}


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package found in ``folder``, which need not be the installed one."""
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv[1:] = "
        f"['--no-cache', '--config', {str(ROOT / 'pyproject.toml')!r}]; "
        "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)


def _copy_package(to: Path) -> None:
    for source in (ROOT / "broker").rglob("*.py"):
        target = to / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def test_the_contracts_are_kept() -> None:
    result = _lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy of the package with every planted import in it."""
    folder = tmp_path_factory.mktemp("planted")
    _copy_package(folder)
    for path, text, _ in PLANTED:
        (folder / path).write_text(f"{text}\n", encoding="utf-8")
    for path, text in CYCLE.items():
        (folder / path).write_text(f"if TYPE_CHECKING:\n    {text}\n", encoding="utf-8")
    result = _lint(folder)
    assert result.returncode != 0, result.stdout
    return result.stdout


@pytest.mark.parametrize(("path", "text", "contract"), PLANTED)
def test_a_planted_import_breaks_its_contract(report: str, path: str, text: str, contract: str) -> None:
    importer = path.removesuffix(".py").replace("/", ".")
    imported = text.removeprefix("import ")
    section = report.partition("Broken contracts")[2].partition(contract)[2]
    assert f"{importer} -> {imported} (l.1)" in section, report


def test_a_cycle_of_type_only_imports_is_found(report: str) -> None:
    section = report.partition("Broken contracts")[2].partition("No cycles, inside a floor either")[2]
    assert ".planted_too -> .planted" in section or ".planted -> .planted_too" in section, report


def test_a_package_without_a_floor_is_refused(tmp_path: Path) -> None:
    _copy_package(tmp_path)
    (tmp_path / "broker/attic").mkdir()
    (tmp_path / "broker/attic/__init__.py").touch()

    result = _lint(tmp_path)

    assert result.returncode != 0
    assert "broker.attic" in result.stdout, result.stdout
