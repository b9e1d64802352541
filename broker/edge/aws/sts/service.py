"""STS, as far as tools ask before anything else: who am I?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.edge.aws.contract import Context, Operation


class StsService:
    name = "sts"

    def operations(self) -> Mapping[str, Operation]:
        return {"GetCallerIdentity": self._get_caller_identity}

    async def _get_caller_identity(self, context: Context, _members: dict[str, Any]) -> dict[str, Any]:
        caller = context.caller
        return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}
