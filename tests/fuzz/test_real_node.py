"""A node as it is run, with garbage on all its ports at once: it lives, takes no memory, and serves."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

from broker.base.addresses import split_address
from broker.client.client import Client
from broker.node.settings import NodeSettings
from broker.transport.frames import HELLO, header
from broker.transport.handshake import Hello, encode
from loadtest.cluster import BrokerProcess, wait_ready
from loadtest.memory import resident_bytes

ROUNDS = 6
AT_A_TIME = 100
PIECE_BYTES = 20_000
MOST_GROWTH = 64 * 1024 * 1024
HEADS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    header(HELLO, encode(Hello(1, 0, "threefold", "b-0", "a-0", "control"))),
    b"",
)


def settings(folder: Path) -> NodeSettings:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three, socket.socket() as four:
        for each in (one, two, three, four):
            each.bind(("127.0.0.1", 0))
        client, peer, admin, aws = (f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two, three, four))
    return NodeSettings(
        "a-0",
        "a",
        data_dir=str(folder / "data"),
        client_listen=client,
        peer_listen=peer,
        admin_listen=admin,
        aws_listen=aws,
        groups=1,
    )


async def bother(address: str, chance: random.Random) -> None:
    """One connection, some garbage, and an end of one kind or another."""
    host, port = split_address(address)
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return
    try:
        writer.write(chance.choice(HEADS) + chance.randbytes(chance.randrange(PIECE_BYTES)))
        if chance.random() < 0.5:
            async with asyncio.timeout(0.2):
                await reader.read(65_536)
    except (OSError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


async def test_garbage_on_all_ports_of_a_real_node(tmp_path: Path) -> None:
    node = BrokerProcess(settings(tmp_path), tmp_path)
    node.start()
    try:
        await wait_ready(node)
        pid = node.pid
        assert pid is not None
        own = node.settings
        ports = (own.client_listen, own.peer_listen, own.admin_listen, own.aws_listen)
        async with Client(node.settings.client_listen) as client:
            await client.create_queue("orders")
            chance = random.Random(1)
            await asyncio.gather(*(bother(chance.choice(ports), chance) for _ in range(AT_A_TIME)))
            before = resident_bytes(pid)
            for _ in range(ROUNDS):
                await asyncio.gather(*(bother(chance.choice(ports), chance) for _ in range(AT_A_TIME)))
                await client.producer("orders").send(b"served")
            assert node.pid == pid, node.last_words()
            assert resident_bytes(pid) - before < MOST_GROWTH
            assert (await client.describe_queue("orders")).counts.visible == ROUNDS
        await wait_ready(node)
        text = node.log.read_text(encoding="utf-8")
        assert "Traceback" not in text, text[-5_000:]
    finally:
        node.kill()
        await node.ended(10.0)
