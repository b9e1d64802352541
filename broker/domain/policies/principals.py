"""Who asks, and whom a policy names: the Principal and NotPrincipal elements.

IAM User Guide, "AWS JSON policy elements: Principal". An account, by its number or its root's ARN, stands for everybody
in it. There are no wildcards in names: ``*`` alone is everybody, whoever they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from broker.base.errors import InvalidArgument

EVERYONE = "*"
_AWS, _SERVICE, _FEDERATED, _CANONICAL = "AWS", "Service", "Federated", "CanonicalUser"
_KINDS = (_AWS, _SERVICE, _FEDERATED, _CANONICAL)
_ACCOUNT = re.compile(r"(?:arn:aws[a-z-]*:iam::)?(\d{12})(?::root)?", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::\d{12}:[\w+=,.@/-]{1,256}", re.ASCII)


class Requester(msgspec.Struct, frozen=True):
    """Who asks. ``account``: of twelve digits, "" for somebody who did not say. ``arns``: each by which a policy may
    name them, as that of a role and that of its session. The others: of a service, or a user of another system."""

    account: str = ""
    arns: tuple[str, ...] = ()
    service: str = ""
    federated: str = ""
    canonical: str = ""


class Principals(msgspec.Struct, frozen=True):
    """``count``: how many were named."""

    everyone: bool
    accounts: frozenset[str]
    names: frozenset[tuple[str, str]]
    count: int

    def include(self, requester: Requester) -> bool:
        if self.everyone:
            return True
        if requester.account in self.accounts:
            return True
        return bool(self.names) and not self.names.isdisjoint(_names(requester))


def compiled(named: Mapping[str, Iterable[str]]) -> Principals:
    """``named``: as the element has them, by kind. Raises InvalidArgument."""
    accounts: set[str] = set()
    names: set[tuple[str, str]] = set()
    everyone, count = False, 0
    for kind, each in named.items():
        if kind not in _KINDS:
            raise InvalidArgument(f"{kind[:100]!r} is not a kind of principal; there are {', '.join(_KINDS)}")
        for name in each:
            count += 1
            if kind == _AWS and name == EVERYONE:
                everyone = True
            elif kind == _AWS and (account := _account(name)):
                accounts.add(account)
            else:
                names.add((kind, _checked(kind, name)))
    return Principals(everyone, frozenset(accounts), frozenset(names), count)


def _account(name: str) -> str:
    """Its number, or "" when this is not an account."""
    match = _ACCOUNT.fullmatch(name)
    is_account = match is not None and name.startswith("arn:") == name.endswith(":root")
    return match[1] if match is not None and is_account else ""


def _checked(kind: str, name: str) -> str:
    if not name or EVERYONE in name:
        raise InvalidArgument(f"{name[:100]!r} is not a principal: names have no wildcards, and * alone goes under AWS")
    if kind == _AWS and not _ARN.fullmatch(name):
        raise InvalidArgument(f"{name[:100]!r} is neither an account nor the ARN of a user, a role or a session")
    return name


def _names(requester: Requester) -> set[tuple[str, str]]:
    others = ((_SERVICE, requester.service), (_FEDERATED, requester.federated), (_CANONICAL, requester.canonical))
    return {(_AWS, arn) for arn in requester.arns} | {(kind, name) for kind, name in others if name}
