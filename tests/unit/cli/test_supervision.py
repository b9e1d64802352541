"""Processes kept running: told when ready, started again when they die, stopped in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from broker.aio.system_clock import SystemClock
from broker.cli.supervision import Child, Supervisor, is_ready

SERVER = """
import http.server, signal, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: (print("in order", flush=True), sys.exit(0)))
print("hello", flush=True)
http.server.HTTPServer(("127.0.0.1", {port}), Ready).serve_forever()
"""


class Diary:
    """What the supervisor said; lets a test wait for a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._grown = asyncio.Event()

    def say(self, line: str) -> None:
        self.lines.append(line)
        self._grown.set()

    async def has(self, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds(self.lines):
                self._grown.clear()
                await self._grown.wait()


def child_of(tmp_path: Path, name: str, program: str) -> Child:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", program.replace("{port}", str(port))]
    return Child(name, command, tmp_path / name / "log", f"127.0.0.1:{port}")


def supervisor_of(children: list[Child], diary: Diary, restart: bool = True) -> Supervisor:
    return Supervisor(children, restart, dict(os.environ), diary.say, SystemClock(), pauses=(0.01,))


async def test_nodes_are_told_ready_and_are_stopped_in_order(tmp_path: Path) -> None:
    # given two nodes that serve
    diary, stop = Diary(), asyncio.Event()
    children = [child_of(tmp_path, name, SERVER) for name in ("a-0", "b-0")]
    supervisor = supervisor_of(children, diary)
    running = asyncio.ensure_future(supervisor.run(stop))
    async with asyncio.timeout(20):
        await supervisor.all_ready.wait()
    assert [await is_ready(child.ready_address) for child in children] == [True, True]
    assert sum("is ready after" in line for line in diary.lines) == 2

    # when it is to stop
    stop.set()

    # then they end by themselves, and what they said is in their logs
    assert await running == 0
    assert [process.returncode for process in supervisor.processes.values()] == [0, 0]
    assert [child.log.read_text() for child in children] == ["hello\nin order\n"] * 2
    assert not await is_ready(children[0].ready_address)


async def test_a_killed_node_starts_again(tmp_path: Path) -> None:
    # given a node that serves
    diary, stop = Diary(), asyncio.Event()
    supervisor = supervisor_of([child_of(tmp_path, "a-0", SERVER)], diary)
    running = asyncio.ensure_future(supervisor.run(stop))
    await diary.has(lambda lines: any("is ready" in line for line in lines))
    first = supervisor.processes["a-0"]

    # when it is killed
    first.send_signal(signal.SIGKILL)

    # then that is said, and another serves
    await diary.has(lambda lines: sum("is ready" in line for line in lines) == 2)
    assert any("a-0 was ended by SIGKILL" in line for line in diary.lines)
    assert supervisor.processes["a-0"].pid != first.pid
    stop.set()
    assert await running == 0


async def test_without_restart_the_end_of_all_nodes_is_the_end(tmp_path: Path) -> None:
    diary = Diary()
    supervisor = supervisor_of([child_of(tmp_path, "a-0", "raise SystemExit(3)")], diary, restart=False)
    assert await supervisor.run(asyncio.Event()) == 1
    assert any("a-0 ended with exit code 3" in line for line in diary.lines)


async def test_a_node_that_cannot_start_shows_why(tmp_path: Path) -> None:
    # given a node that dies at once, every time
    diary, stop = Diary(), asyncio.Event()
    supervisor = supervisor_of([child_of(tmp_path, "a-0", "raise SystemExit('no such disk')")], diary)
    running = asyncio.ensure_future(supervisor.run(stop))

    # when it has died more than once
    # then the end of its log is shown
    await diary.has(lambda lines: "    no such disk" in lines)
    stop.set()
    assert await running == 0
