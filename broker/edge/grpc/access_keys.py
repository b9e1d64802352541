"""AccessKeyService: to make, list, disable, enable and delete the access keys of clients of the AWS port."""

from __future__ import annotations

from collections.abc import Mapping

from broker.base.instants import Millis
from broker.base.limits import LIST_PAGE
from broker.domain.identity.commands import AccessKey, KeyDescription
from broker.edge.grpc.calls import Unary
from broker.pb.identity.v1 import identity_pb2
from broker.services.access_keys import AccessKeys


class AccessKeyCalls:
    def __init__(self, service: AccessKeys) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Unary]:
        return {"Create": self.create, "List": self.list, "SetActive": self.set_active, "Delete": self.delete}

    async def create(self, request: identity_pb2.CreateRequest, deadline: Millis) -> identity_pb2.CreateResponse:
        key = await self._service.create(request.account, request.user, deadline)
        return identity_pb2.CreateResponse(key=_told(key), secret=key.secret)

    async def list(self, request: identity_pb2.ListRequest, deadline: Millis) -> identity_pb2.ListResponse:
        limit = min(request.limit, LIST_PAGE) or LIST_PAGE
        page = await self._service.page(request.account, request.after, limit, deadline)
        return identity_pb2.ListResponse(keys=[_told(key) for key in page.keys], more=page.more)

    async def set_active(
        self, request: identity_pb2.SetActiveRequest, deadline: Millis
    ) -> identity_pb2.SetActiveResponse:
        key = await self._service.set_active(request.id, request.active, deadline)
        return identity_pb2.SetActiveResponse(key=_told(key))

    async def delete(self, request: identity_pb2.DeleteRequest, deadline: Millis) -> identity_pb2.DeleteResponse:
        return identity_pb2.DeleteResponse(key=_told(await self._service.delete(request.id, deadline)))


def _told(key: AccessKey | KeyDescription) -> identity_pb2.AccessKey:
    return identity_pb2.AccessKey(
        id=key.id, account=key.account, user=key.user, created_at=key.created, active=key.active
    )
