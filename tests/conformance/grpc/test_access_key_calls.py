"""AccessKeyService over real connections: a key's life, seen from any node, and the errors of each call."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from broker.pb.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.conformance.grpc.serving import TIMEOUT, Running, refusal, serving
from tests.unit.services.fake_groups import FakeCluster

ACCOUNT = "123456789012"


def keys_of(running: Running, node: str = "a-0") -> Any:
    return identity_pb2_grpc.AccessKeyServiceStub(running.doors[node].channel)


async def create(running: Running, node: str = "a-0", user: str = "") -> identity_pb2.CreateResponse:
    request = identity_pb2.CreateRequest(account=ACCOUNT, user=user)
    response: identity_pb2.CreateResponse = await keys_of(running, node).Create(request, timeout=TIMEOUT)
    return response


async def listed(running: Running, **question: Any) -> identity_pb2.ListResponse:
    response: identity_pb2.ListResponse = await keys_of(running, "c-0").List(
        identity_pb2.ListRequest(**question), timeout=TIMEOUT
    )
    return response


async def test_a_key_made_through_one_node_is_changed_and_deleted_through_others() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        made = await create(running, "b-0", "alice")
        assert (made.key.account, made.key.user, made.key.active) == (ACCOUNT, "alice", True)
        assert (len(made.key.id), len(made.secret)) == (20, 40)
        assert made.key.created_at > 1_600_000_000_000
        assert list((await listed(running)).keys) == [made.key]
        changed = await keys_of(running, "a-0").SetActive(
            identity_pb2.SetActiveRequest(id=made.key.id, active=False), timeout=TIMEOUT
        )
        assert not changed.key.active
        assert list((await listed(running)).keys) == [changed.key]
        gone = await keys_of(running, "c-0").Delete(identity_pb2.DeleteRequest(id=made.key.id), timeout=TIMEOUT)
        assert gone.key == changed.key
        assert list((await listed(running)).keys) == []


async def test_keys_come_in_pages() -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        ids = sorted([(await create(running)).key.id for _ in range(3)])
        first = await listed(running, limit=2)
        assert ([key.id for key in first.keys], first.more) == (ids[:2], True)
        second = await listed(running, limit=2, after=ids[1])
        assert ([key.id for key in second.keys], second.more) == (ids[2:], False)
        assert len((await listed(running, account="999999999999")).keys) == 0
        assert len((await listed(running, account=ACCOUNT, limit=2**32 - 1)).keys) == 3


@pytest.mark.parametrize(
    ("method", "request_", "status", "code"),
    [
        ("Create", identity_pb2.CreateRequest(account="1"), grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ("Create", identity_pb2.CreateRequest(), grpc.StatusCode.INVALID_ARGUMENT, "InvalidArgument"),
        ("SetActive", identity_pb2.SetActiveRequest(id="x"), grpc.StatusCode.NOT_FOUND, "AccessKeyNotFound"),
        ("Delete", identity_pb2.DeleteRequest(id="x"), grpc.StatusCode.NOT_FOUND, "AccessKeyNotFound"),
    ],
)
async def test_what_cannot_be_done_is_told_exactly(
    method: str, request_: Any, status: grpc.StatusCode, code: str
) -> None:
    async with serving(FakeCluster(nodes=3)) as running:
        found, info = await refusal(getattr(keys_of(running, "b-0"), method)(request_, timeout=TIMEOUT))
        assert (found, info.code, info.retryable) == (status, code, False)
