"""Both networks for real: what is sound carries, what is cut does not, and what is mended carries again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from loadtest.faults import namespaces
from loadtest.faults.links import CLIENTS, cut_off, mute
from loadtest.faults.loopback import LoopbackNetwork
from loadtest.faults.namespaces import NamespaceNetwork
from loadtest.faults.network import Network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("faults"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs namespaces, or more loopback addresses than others have"),
]

PORT = 24_555
NODES = {"a-0": "a", "b-0": "b"}
ECHO = """
import asyncio, sys
async def echo(reader, writer):
    while data := await reader.read(1000):
        writer.write(data)
async def main():
    server = await asyncio.start_server(echo, sys.argv[1], int(sys.argv[2]))
    print("listening", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
UNHEARD_SECONDS = 1.0
"""For which nothing is heard where nothing can be: longer proves no more."""


@pytest.fixture(params=["namespaces", "loopback"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    made: Network = LoopbackNetwork((PORT,))
    if request.param == "namespaces":
        if not namespaces.are_permitted():
            pytest.skip("network namespaces are not permitted here")
        made = NamespaceNetwork()
    made.open(NODES)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def listening(network: Network) -> Iterator[str]:
    """The address of an echo on node a-0."""
    command = [*network.prefix("a-0"), sys.executable, "-c", ECHO, network.own("a-0"), str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        try:
            yield network.seen("a-0")
        finally:
            process.kill()


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, within: float) -> bool:
    writer.write(b"!")
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            return await reader.readexactly(1) == b"!"
    return False


async def test_what_is_cut_is_unheard_until_it_is_mended(network: Network, listening: str) -> None:
    # given a connection from a client to a node
    reader, writer = await asyncio.open_connection(listening, PORT)
    assert await echoed(reader, writer, 10)
    # when its zone is cut off from clients, nothing comes back, though it would from elsewhere
    network.shape(cut_off("a", [CLIENTS]))
    assert not await echoed(reader, writer, UNHEARD_SECONDS)
    # and when it is mended, what was sent meanwhile does
    network.shape(cut_off("a", ["b"]))
    async with asyncio.timeout(20):
        assert await reader.readexactly(1) == b"!"
    writer.close()


async def test_a_mute_zone_is_unheard_too(network: Network, listening: str) -> None:
    reader, writer = await asyncio.open_connection(listening, PORT)
    network.shape(mute("a", [CLIENTS]))
    assert not await echoed(reader, writer, UNHEARD_SECONDS)
    writer.close()


def test_what_a_run_that_is_gone_left_behind_is_removed() -> None:
    if not namespaces.are_permitted():
        pytest.skip("network namespaces are not permitted here")
    # given a namespace of a process that is gone, one of this process, and somebody else's
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f"threefold-{gone.pid}-a-0", f"threefold-{os.getpid()}-a-0", "threefold-other"]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        # when leftovers are removed
        namespaces.remove_leftovers()
        # then only the first is
        found = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
        assert [name in found for name in names] == [False, True, True]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
