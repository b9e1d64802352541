"""The client's calls about access keys: what clients of the AWS port sign their requests with.

If the answer to a creation is lost, a key may stay whose secret nobody knows: it does no harm, and is listed.
"""

from __future__ import annotations

import msgspec

from broker.client.calls import Calling
from broker.pb.identity.v1 import identity_pb2


class AccessKey(msgspec.Struct, frozen=True):
    """``account``: 12 digits. ``user``: a name within it, "" for its root. ``created_at``: seconds since the epoch."""

    id: str
    account: str
    user: str
    created_at: float
    active: bool


class NewAccessKey(msgspec.Struct, frozen=True):
    """``secret``: told now and never again."""

    key: AccessKey
    secret: str


class KeyCalls(Calling):
    async def create_access_key(self, account: str, user: str = "") -> NewAccessKey:
        """Raises InvalidArgument for what is no account or no name, LimitReached, Unavailable."""
        request = identity_pb2.CreateRequest(account=account, user=user)
        response = await self._caller.call(lambda endpoint: endpoint.access_keys.Create, request)
        return NewAccessKey(_told(response.key), response.secret)

    async def list_access_keys(self, account: str = "") -> list[AccessKey]:
        """All of the cluster, or of one account, by id."""
        found: list[AccessKey] = []
        more, after = True, ""
        while more:
            request = identity_pb2.ListRequest(account=account, after=after)
            response = await self._caller.call(lambda endpoint: endpoint.access_keys.List, request)
            found += [_told(key) for key in response.keys]
            more, after = response.more, found[-1].id if found else ""
        return found

    async def set_access_key_active(self, identity: str, active: bool) -> AccessKey:
        """It takes effect on every node within five seconds. Raises AccessKeyNotFound."""
        request = identity_pb2.SetActiveRequest(id=identity, active=active)
        return _told((await self._caller.call(lambda endpoint: endpoint.access_keys.SetActive, request)).key)

    async def delete_access_key(self, identity: str) -> AccessKey:
        """As it was. Raises AccessKeyNotFound."""
        request = identity_pb2.DeleteRequest(id=identity)
        return _told((await self._caller.call(lambda endpoint: endpoint.access_keys.Delete, request)).key)


def _told(key: identity_pb2.AccessKey) -> AccessKey:
    return AccessKey(key.id, key.account, key.user, key.created_at / 1_000, key.active)
