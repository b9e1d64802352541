"""Each rule finds a planted violation, and lets the right way pass: a rule that cannot fail would guard nothing."""

from __future__ import annotations

import pytest

from tests.architecture import rules
from tests.architecture.rules import Rule
from tests.architecture.sources import Source

LONG_FUNCTION = "def long():\n" + "    x = 1\n" * 60

PLANTED: list[tuple[Rule, str, str]] = [
    (rules.file_size, "broker/raft/log.py", "x = 1\n" * 401),
    (rules.function_size, "broker/raft/log.py", LONG_FUNCTION),
    (rules.module_name, "broker/raft/utils.py", ""),
    (rules.module_name, "broker/storage/wal_part2.py", ""),
    (rules.module_name, "broker/helpers/log.py", ""),
    (rules.module_name, "broker/raft/base_group.py", ""),
    (rules.empty_init, "broker/raft/__init__.py", "from broker.raft.group import RaftGroup\n"),
    (rules.docstring, "broker/raft/log.py", "x = 1\n"),
    (rules.docstring, "tests/simulation/world.py", "x = 1\n"),
    (rules.swallowed, "broker/raft/log.py", "try:\n    f()\nexcept:\n    raise\n"),
    (rules.swallowed, "broker/raft/log.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (
        rules.swallowed,
        "broker/raft/log.py",
        "for i in x:\n    try:\n        f()\n    except (A, Exception):\n        continue",
    ),
    (rules.swallowed, "broker/raft/log.py", "with contextlib.suppress(Exception):\n    f()\n"),
    (rules.tasks, "broker/node/run.py", "asyncio.create_task(f())\n"),
    (rules.tasks, "broker/node/run.py", "group.create_task(f())\n"),
    (rules.tasks, "broker/node/run.py", "ensure_future(f())\n"),
    (rules.clock, "broker/services/queues.py", "import time\nt = time.monotonic()\n"),
    (rules.clock, "broker/services/queues.py", "from time import perf_counter\n"),
    (rules.clock, "broker/services/queues.py", "t = self._loop.time()\n"),
    (rules.clock, "broker/services/queues.py", "t = asyncio.get_running_loop().time()\n"),
    (rules.clock, "broker/services/queues.py", "t = datetime.now()\n"),
    (rules.clock, "broker/services/queues.py", "read = time.time_ns\n"),
    (rules.chance, "broker/services/retries.py", "x = random.random()\n"),
    (rules.chance, "broker/services/retries.py", "from random import shuffle\n"),
    (rules.sync, "broker/storage/wal.py", "os.fdatasync(handle)\n"),
    (rules.sync, "broker/storage/wal.py", "sync = os.fsync\n"),
    (rules.sync, "broker/storage/wal.py", "from os import fdatasync\n"),
    (rules.local_import, "broker/storage/wal.py", "def f():\n    import os\n"),
    (rules.sleep, "tests/unit/raft/test_log.py", "async def f():\n    await asyncio.sleep(0.1)\n"),
    (rules.sleep, "tests/simulation/world.py", "time.sleep(1)\n"),
    (rules.mock, "tests/unit/raft/test_log.py", "from unittest.mock import Mock\n"),
    (rules.mock, "tests/unit/raft/test_log.py", "from unittest import mock\n"),
]

HARMLESS: list[tuple[Rule, str, str]] = [
    (rules.file_size, "broker/raft/log.py", "x = 1\n" * 400),
    (rules.function_size, "broker/raft/log.py", "def short():\n" + "    x = 1\n" * 59),
    (rules.module_name, "broker/base/errors.py", ""),
    (rules.module_name, "broker/raft/handing_over.py", ""),
    (rules.empty_init, "broker/raft/__init__.py", ""),
    (rules.empty_init, "broker/__init__.py", '"""The broker."""\n'),
    (rules.docstring, "broker/raft/log.py", '"""The log."""\n'),
    (rules.swallowed, "broker/raft/log.py", "try:\n    f()\nexcept Exception as error:\n    tell(error)\n"),
    (rules.swallowed, "broker/raft/log.py", "try:\n    f()\nexcept KeyError:\n    pass\n"),
    (rules.tasks, "broker/aio/tasks.py", "asyncio.create_task(f())\n"),
    (rules.tasks, "tests/unit/aio/test_tasks.py", "asyncio.create_task(f())\n"),
    (rules.clock, "broker/aio/system_clock.py", "t = time.monotonic()\n"),
    (rules.clock, "broker/services/queues.py", "t = self._clock.time()\n"),
    (rules.clock, "broker/client/calls.py", "t = loop.time()\n"),
    (rules.sync, "broker/node/wiring.py", "storage = open_storage(settings.fsync)\n"),
    (rules.chance, "broker/node/wiring.py", "chance = random.Random(seed)\n"),
    (rules.sync, "broker/storage/disk.py", "os.fdatasync(handle)\n"),
    (rules.local_import, "broker/storage/wal.py", "import os\n"),
    (rules.local_import, "broker/cli/queue.py", "def f():\n    import os\n"),
    (rules.sleep, "tests/unit/raft/test_log.py", "async def f():\n    await asyncio.sleep(0)\n"),
    (rules.sleep, "tests/integration/cluster.py", "time.sleep(1)\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_rule_finds_what_it_is_for(rule: Rule, path: str, text: str) -> None:
    assert [violation.path for violation in rule(Source(path, text))] == [path]


@pytest.mark.parametrize(("rule", "path", "text"), HARMLESS)
def test_rule_lets_the_right_way_pass(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text))) == []


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(rules.RULES)
