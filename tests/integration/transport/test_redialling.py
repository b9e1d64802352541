"""A peer that keeps hanging up is dialled ever more slowly; one that stayed is dialled again at once."""

from __future__ import annotations

import asyncio

import pytest

from broker.aio.tasks import TaskScope
from broker.base.ids import NodeId
from broker.base.instants import Millis
from broker.telemetry import logs
from broker.telemetry.metrics import Registry
from broker.transport.backoff import Backoff
from broker.transport.complaints import Complaints
from broker.transport.control import ControlLink
from broker.transport.dialling import Dialler, keep_dialled
from broker.transport.handshake import Forgetful, Identity
from broker.transport.peer import Connection
from broker.transport.settings import MeshSettings
from broker.transport.traffic import Traffic
from tests.integration.transport.loopback_mesh import PATIENCE, A, B, Loopback


class Always:
    def random(self) -> float:
        return 1.0


class NotedBackoff(Backoff):
    """Notes the waits it gives; after six of them ``enough`` is set."""

    def __init__(self) -> None:
        super().__init__(Millis(1), Millis(8), Always())
        self.waits: list[int] = []
        self.enough = asyncio.Event()

    def next(self) -> Millis:
        wait = super().next()
        self.waits.append(wait)
        if len(self.waits) == 6:
            self.enough.set()
        return wait


def received(peer: NodeId, payload: bytes) -> None:
    raise AssertionError(f"{peer} was to send nothing and sent {payload!r}")


def ended(peer: NodeId, connection: Connection) -> None:
    """The next dialling is what counts."""


def fail(task_name: str, error: BaseException) -> None:
    raise AssertionError(f"{task_name} failed") from error


@pytest.mark.parametrize(
    ("settled_after", "waits"),
    [(PATIENCE, [1, 2, 4, 8, 8, 8]), (0.0, [1, 1, 1, 1, 1, 1])],
    ids=["hangs up at once", "had stayed"],
)
async def test_waits_grow_until_a_connection_has_held(settled_after: float, waits: list[int]) -> None:
    async with Loopback() as loopback, TaskScope("test", fail) as scope:
        node = await loopback.start(B)
        node.mesh.set_peers({A: "127.0.0.1:1"})
        dialler = Dialler(Identity("test", A, (1, 0)), MeshSettings(), None, Traffic(Registry()), scope, Forgetful())
        backoff = NotedBackoff()

        def accept_and_hang_up(connection: Connection) -> None:
            connection.admit(ControlLink(B, received, ended))
            asyncio.get_running_loop().call_later(0.001, connection.close, "enough of it")

        complaints = Complaints(logs.get("broker.test"))
        scope.start(
            keep_dialled(dialler, B, lambda: node.address, accept_and_hang_up, backoff, complaints, settled_after),
            name="dial",
        )
        async with asyncio.timeout(PATIENCE):
            await backoff.enough.wait()
        assert backoff.waits == waits


async def test_nobody_there_is_dialled_ever_more_slowly(caplog: pytest.LogCaptureFixture) -> None:
    async with TaskScope("test", fail) as scope:
        dialler = Dialler(Identity("test", A, (1, 0)), MeshSettings(), None, Traffic(Registry()), scope, Forgetful())
        backoff = NotedBackoff()
        complaints = Complaints(logs.get("broker.test"))
        scope.start(
            keep_dialled(dialler, B, lambda: "127.0.0.1:1", lambda _: None, backoff, complaints, PATIENCE), name="dial"
        )
        async with asyncio.timeout(PATIENCE):
            await backoff.enough.wait()
        assert backoff.waits == [1, 2, 4, 8, 8, 8]
        assert [record.getMessage() for record in caplog.records] == ["cannot connect"]
        complaints.close()
