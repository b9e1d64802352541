"""Where the protocols of AWS and its services meet: plain dicts in the model's member names go in and come out.

An operation is called with what the service's model says it takes: every required member is there, every member has its
type. Blobs are bytes, timestamps seconds as float. What an operation returns is written in the caller's protocol.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from broker.base.instants import Millis


class Caller(msgspec.Struct, frozen=True):
    """Who calls, and where: ``account`` (12 digits), region, and the access key used ("" when none).

    ``arn``: of the account's root or one of its users, and ``user_id``, as sts:GetCallerIdentity tells them.
    ``anonymous``: nobody signed the request, although signatures are checked; account, arn and user id are "" then.
    """

    account: str
    region: str
    access_key: str = ""
    arn: str = ""
    user_id: str = ""
    anonymous: bool = False


class Context(msgspec.Struct, frozen=True):
    """Of one request.

    ``base_url``: scheme and host under which the caller reached this node, for URLs in answers, without a slash at the
    end. ``deadline``: of the monotonic clock. ``source_ip``: of the caller, or of the proxy before this node; "" when
    that is not known.
    """

    caller: Caller
    base_url: str
    deadline: Millis
    protocol: Literal["json", "query"]
    request_id: str
    source_ip: str = ""


class AwsError(Exception):
    """Told to the caller as AWS would.

    ``code``: the shape's name, as in JSON ("QueueDoesNotExist"). ``query_code``: as in query/XML and in the header
    x-amzn-query-error ("AWS.SimpleQueueService.NonExistentQueue"); the same as ``code`` unless given.
    ``sender_fault``: whether the caller has to change something; by default what ``status`` says.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, query_code: str = "", sender_fault: bool | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.query_code = query_code or code
        self.sender_fault = status < 500 if sender_fault is None else sender_fault


Operation = Callable[[Context, dict[str, Any]], Awaitable[dict[str, Any]]]


class Service(Protocol):
    """``name``: botocore's ("sqs")."""

    @property
    def name(self) -> str: ...

    def operations(self) -> Mapping[str, Operation]:
        """By operation name ("SendMessage")."""


@runtime_checkable
class Authorizing(Protocol):
    """What a service has besides, if it decides who may do what. Not asked in development mode."""

    def takes_anonymous(self, operation: str) -> bool:
        """Whether the operation names a resource whose policy may let everybody in. A request for any other one that
        nobody signed is refused before it is read."""

    async def authorize(self, context: Context, operation: str, members: Mapping[str, Any]) -> None:
        """Called with what was read of the request, before the operation runs. Raises AwsError when the caller
        (``context.caller``, perhaps an anonymous one) may not do this."""
