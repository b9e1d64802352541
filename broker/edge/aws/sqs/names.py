"""Names of queues as callers write them (URLs in every style, ARNs) and as the cluster stores them.

Queues of the default account and region are stored under their plain names, those that gRPC clients see; others in a
namespace of their own. This room must not know whether a queue exists.
"""

from __future__ import annotations

import re

import msgspec

from broker.domain.queues.model import FIFO_SUFFIX, NAMESPACE
from broker.edge.aws.contract import AwsError, Caller

_REGION = r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+"
_URL = re.compile(
    rf"(?:https?://(?P<host>[^/?#]+))?/?(?:queue/(?P<region>{_REGION})/)?(?P<account>[0-9]+)/(?P<name>[^/?#]+)/?"
)
_HOST = re.compile(rf"(?:sqs\.(?P<after>{_REGION})\.|(?P<before>{_REGION})\.queue\.)")
_ARN = re.compile(r"arn:[a-z-]+:sqs:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):(?P<name>[^:]+)")
_MAX_REMEMBERED = 10_000


class QueueName(msgspec.Struct, frozen=True):
    """``stored``: what the cluster calls it."""

    account: str
    region: str
    name: str
    stored: str
    fifo: bool

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"

    def url(self, base_url: str) -> str:
        return f"{base_url}/{self.account}/{self.name}"

    def is_with(self, other: QueueName) -> bool:
        """Of the same account and region."""
        return (self.account, self.region) == (other.account, other.region)


class Names:
    """``account`` and ``region``: whose queues have plain names."""

    def __init__(self, account: str, region: str) -> None:
        self._account = account
        self._region = region
        self._by_url: dict[tuple[str, str], QueueName] = {}

    def of(self, account: str, region: str, name: str) -> QueueName:
        prefix = self.prefix(account, region)
        if name.startswith(NAMESPACE):  # nobody reaches another namespace by a name: no queue is called so
            prefix += NAMESPACE
        return _named(account, region, name, prefix + name)

    def own(self, caller: Caller, name: str) -> QueueName:
        return self.of(caller.account, caller.region, name)

    def prefix(self, account: str, region: str) -> str:
        """What all stored names of an account in a region begin with."""
        if (account, region) == (self._account, self._region):
            return ""
        return f"{NAMESPACE}{account}{NAMESPACE}{region}{NAMESPACE}"

    def of_stored(self, stored: str) -> QueueName:
        if not stored.startswith(NAMESPACE):
            return _named(self._account, self._region, stored, stored)
        _, account, region, name = stored.split(NAMESPACE, 3)
        return _named(account, region, name, stored)

    def of_url(self, url: str, caller: Caller) -> QueueName:
        """A URL that names no region means the caller's. Raises AwsError."""
        found = self._by_url.get((url, caller.region))
        if found is None:
            found = self._read(url, caller)
            if len(self._by_url) >= _MAX_REMEMBERED:
                self._by_url.clear()
            self._by_url[url, caller.region] = found
        return found

    def of_arn(self, arn: str) -> QueueName | None:
        """None when it is none of a queue."""
        match = _ARN.fullmatch(arn)
        return None if match is None else self.of(match["account"], match["region"], match["name"])

    def _read(self, url: str, caller: Caller) -> QueueName:
        match = _URL.fullmatch(url)
        if match is None:
            raise AwsError("InvalidAddress", f"The address {url} is not valid for this endpoint.", 404)
        host = _HOST.match(match["host"] or "")
        region = match["region"] or (host and (host["after"] or host["before"])) or caller.region
        return self.of(match["account"], region, match["name"])


def _named(account: str, region: str, name: str, stored: str) -> QueueName:
    return QueueName(account, region, name, stored, name.endswith(FIFO_SUFFIX))
