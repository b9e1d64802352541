"""The rules of the house, each a function from one source file to its violations.

A violation is identified by ``rule path subject`` (no line number), so that the list of exceptions stays valid while
lines move. Rules know nothing of that list, and read no files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.architecture.sources import Source

FILE_LINES = 400
FUNCTION_LINES = 60

_DRAWERS = re.compile(r"^_?(utils?|helpers?|common|misc|managers?|stuff|tools|base_.*|.*_(utils?|helpers?|part\d+))$")
_CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}
_SCHEDULERS = {"create_task", "ensure_future"}
_SYNCS = {"fsync", "fdatasync", "sync_file_range", "F_FULLFSYNC"}
_SLEEPLESS = ("tests/unit/", "tests/properties/", "tests/scenarios/", "tests/simulation/", "tests/architecture/")


@dataclass(frozen=True, order=True)
class Violation:
    """``subject`` names the function or thing at fault; ``detail`` says what to do about it."""

    rule: str
    path: str
    subject: str
    line: int
    detail: str

    @property
    def key(self) -> str:
        return f"{self.rule} {self.path} {self.subject}".rstrip()

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.rule}] {self.subject}: {self.detail}"


Rule = Callable[[Source], Iterator[Violation]]


def file_size(source: Source) -> Iterator[Violation]:
    if source.line_count > FILE_LINES:
        detail = f"{source.line_count} lines, at most {FILE_LINES}: split it by topic"
        yield Violation("file-size", source.path, "", source.line_count, detail)


def function_size(source: Source) -> Iterator[Violation]:
    for function in source.functions():
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES:
            detail = f"{lines} lines, at most {FUNCTION_LINES}: give its steps names"
            yield Violation("function-size", source.path, function.name, function.lineno, detail)


def module_name(source: Source) -> Iterator[Violation]:
    for part in source.parts[1:]:
        if _DRAWERS.match(part):
            yield Violation("module-name", source.path, part, 1, "a drawer, not a room: name it for its topic")


def empty_init(source: Source) -> Iterator[Violation]:
    documented = ast.get_docstring(source.tree) is not None
    if source.name == "__init__" and len(source.tree.body) > documented:
        yield Violation("empty-init", source.path, "", 1, "__init__ holds nothing: import from the module itself")


def docstring(source: Source) -> Iterator[Violation]:
    if source.name == "__init__" or source.name.startswith("test_"):
        return  # a test module is named for what it tests, and its tests say the rest
    if not ast.get_docstring(source.tree):
        detail = "open it by saying what the room is for and what it must not know"
        yield Violation("docstring", source.path, "", 1, detail)


def swallowed(source: Source) -> Iterator[Violation]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield Violation("swallowed", source.path, "except:", node.lineno, "name what is caught")
            elif _broad(node.type) and all(_does_nothing(statement) for statement in node.body):
                yield Violation("swallowed", source.path, "except Exception", node.lineno, "errors are not dropped")
        elif isinstance(node, ast.Call) and _name(node.func) == "suppress" and any(_broad(each) for each in node.args):
            yield Violation("swallowed", source.path, "suppress(Exception)", node.lineno, "errors are not dropped")


def tasks(source: Source) -> Iterator[Violation]:
    if not source.path.startswith("broker/") or source.path == "broker/aio/tasks.py":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _name(node.func) in _SCHEDULERS:
            detail = "a task nobody watches dies unseen: start it through broker.aio.tasks"
            yield Violation("tasks", source.path, _name(node.func), node.lineno, detail)


def clock(source: Source) -> Iterator[Violation]:
    if not source.path.startswith("broker/") or source.path == "broker/aio/system_clock.py":
        return
    for node in ast.walk(source.tree):
        subject = ""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" and node.attr in _CLOCKS:
                subject = f"time.{node.attr}"
            elif node.value.id in {"datetime", "date"} and node.attr in {"now", "utcnow", "today"}:
                subject = f"{node.value.id}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "time" and _CLOCKS & {each.name for each in node.names}:
            subject = "from time import"
        if isinstance(node, ast.Call) and _name(node.func) == "time" and _owner(node.func).endswith("loop"):
            # The client is a library in somebody else's loop: that loop's own time is what its timers go by.
            subject = "" if source.path.startswith("broker/client/") else "loop.time"
        if subject:
            detail = "the OS clock is read in broker.aio.system_clock only: inject a Clock"
            yield Violation("clock", source.path, subject, node.lineno, detail)


def chance(source: Source) -> Iterator[Violation]:
    if not source.path.startswith("broker/"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _owner(node.func) == "random" and _name(node.func) not in _GENERATORS:
            subject = f"random.{_name(node.func)}"
            yield Violation("chance", source.path, subject, node.lineno, "inject a random.Random instead")
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            names = {each.name for each in node.names} - _GENERATORS
            for name in sorted(names):
                yield Violation("chance", source.path, name, node.lineno, "inject a random.Random instead")


_GENERATORS = {"Random", "SystemRandom"}


def sync(source: Source) -> Iterator[Violation]:
    if not source.path.startswith("broker/") or source.path == "broker/storage/disk.py":
        return
    for node in ast.walk(source.tree):
        found = set()
        if isinstance(node, ast.Attribute) and _owner(node) in {"os", "fcntl"}:
            found = {node.attr}
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "fcntl"}:
            found = {each.name for each in node.names}
        for name in sorted(found & _SYNCS):
            detail = "what is durable is decided in broker.storage.disk only"
            yield Violation("sync", source.path, name, node.lineno, detail)


def local_import(source: Source) -> Iterator[Violation]:
    if source.path == "broker/__main__.py" or source.path.startswith("broker/cli/"):
        return  # a command imports what it needs when it runs: `broker --help` must not load gRPC
    for function in source.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                detail = "imports stand at the top, where the contracts and the reader see them"
                yield Violation("local-import", source.path, function.name, node.lineno, detail)


def sleep(source: Source) -> Iterator[Violation]:
    if not source.path.startswith(_SLEEPLESS):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _name(node.func) == "sleep" and not _zero(node.args):
            yield Violation("sleep", source.path, "sleep", node.lineno, "tests use virtual time or wait for an event")


def mock(source: Source) -> Iterator[Violation]:
    for node in ast.walk(source.tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{each.name}" for each in node.names]
        for module in modules:
            if module.startswith(("unittest.mock", "mock.")) or module == "mock":
                yield Violation("mock", source.path, module, node.lineno, "write a fake that implements the protocol")


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _owner(node: ast.AST) -> str:
    """``self._loop.time`` -> ``_loop``; ``get_running_loop().time`` -> ``get_running_loop``."""
    if not isinstance(node, ast.Attribute):
        return ""
    value = node.value
    return _name(value.func) if isinstance(value, ast.Call) else _name(value)


def _broad(node: ast.AST) -> bool:
    elements = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(_name(each) in {"Exception", "BaseException"} for each in elements)


def _does_nothing(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass | ast.Continue | ast.Break)


def _zero(arguments: list[ast.expr]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], ast.Constant) and arguments[0].value == 0


RULES: tuple[Rule, ...] = (
    file_size,
    function_size,
    module_name,
    empty_init,
    docstring,
    swallowed,
    tasks,
    clock,
    chance,
    sync,
    local_import,
    sleep,
    mock,
)
