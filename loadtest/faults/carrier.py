"""A process that carries what goes between places, told over its standard input how: a line of JSON for all links.

It ends when that is closed, so that it never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec

from loadtest.faults.links import Links
from loadtest.faults.network import NetworkError

_PATIENCE_SECONDS = 5.0


class Carrier:
    """The process, as its parent sees it."""

    def __init__(self, module: str, arguments: Sequence[str], handles: Sequence[int] = ()) -> None:
        """``handles``: file descriptors that it inherits. Raises NetworkError when it does not begin to work."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=handles,
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the input
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            raise NetworkError(f"{module} did not begin to work; its own words are above")

    def shape(self, links: Links) -> None:
        """Returns when the links are so. Raises NetworkError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode(links) + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise NetworkError(f"what carries packets between the nodes is gone: {error}") from None
        if self._process.stdout.readline() != b"shaped\n":
            raise NetworkError("what carries packets between the nodes is gone")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


async def obey(shape: Callable[[Links], None]) -> None:
    """In the carrying process: from now on until the input ends, and the process with it."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say("ready")
    while line := await reader.readline():
        shape(msgspec.json.decode(line, type=Links))
        _say("shaped")
    os._exit(0)  # what is on its way has nowhere to go


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()
