"""Names of nodes, zones and clusters: DNS labels, as Kubernetes wants them."""

from __future__ import annotations

import re

from broker.base.errors import InvalidArgument
from broker.base.limits import NAME_MAX_LENGTH

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def check_name(what: str, name: str) -> None:
    """Raises InvalidArgument, saying of ``what`` it is the name."""
    if len(name) > NAME_MAX_LENGTH or not _DNS_LABEL.fullmatch(name):
        raise InvalidArgument(
            f"{what} {name!r} is not a name: use 1-{NAME_MAX_LENGTH} of a-z, 0-9 and -, not - at the ends"
        )
