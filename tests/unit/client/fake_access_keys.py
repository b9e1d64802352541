"""The access key calls of the fake broker: keys with names that can be told in advance, in pages of two."""
# ruff: noqa: N802  (the methods have the names of the API)

from __future__ import annotations

from typing import Any

from broker.base.errors import AccessKeyNotFound
from broker.pb.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.unit.client.fake_refusal import refuse

PAGE = 2


class FakeAccessKeys(identity_pb2_grpc.AccessKeyServiceServicer):
    """``keys`` by id, ascending."""

    def __init__(self) -> None:
        self.keys: dict[str, identity_pb2.AccessKey] = {}

    async def Create(self, request: identity_pb2.CreateRequest, context: Any) -> identity_pb2.CreateResponse:
        identity = f"AKIAFAKE{len(self.keys)}"
        key = identity_pb2.AccessKey(
            id=identity, account=request.account, user=request.user, created_at=86_400_000, active=True
        )
        self.keys[identity] = key
        return identity_pb2.CreateResponse(key=key, secret=f"secret-of-{identity}")

    async def List(self, request: identity_pb2.ListRequest, context: Any) -> identity_pb2.ListResponse:
        found = [key for key in self.keys.values() if key.id > request.after and request.account in ("", key.account)]
        return identity_pb2.ListResponse(keys=found[:PAGE], more=len(found) > PAGE)

    async def SetActive(self, request: identity_pb2.SetActiveRequest, context: Any) -> identity_pb2.SetActiveResponse:
        key = await self._known(request.id, context)
        key.active = request.active
        return identity_pb2.SetActiveResponse(key=key)

    async def Delete(self, request: identity_pb2.DeleteRequest, context: Any) -> identity_pb2.DeleteResponse:
        key = await self._known(request.id, context)
        del self.keys[key.id]
        return identity_pb2.DeleteResponse(key=key)

    async def _known(self, identity: str, context: Any) -> identity_pb2.AccessKey:
        if identity not in self.keys:
            await refuse(context, AccessKeyNotFound(f"there is no access key {identity}"))
        return self.keys[identity]
