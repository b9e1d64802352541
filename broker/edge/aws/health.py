"""What scripts that wait for a node ask: whether it lives, whether it is ready, and which services there are.

``/_localstack/health`` has the shape that the wait scripts of many projects poll.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Request

_PLAIN = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))
_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
EDITION = "threefold"


class HealthPages:
    """``trouble``: why the node is not ready, or None."""

    def __init__(self, services: Sequence[str], version: str, trouble: Callable[[], str | None]) -> None:
        self._services = services
        self._version = version
        self._trouble = trouble
        self._pages = {"/livez": self._livez, "/readyz": self._readyz, "/_localstack/health": self._services_page}

    def answer(self, request: Request) -> Document | None:
        """None: no such page, or the request wants something else there."""
        page = self._pages.get(request.path)
        return page() if page is not None and request.method in ("GET", "HEAD") else None

    def _livez(self) -> Document:
        return Document(200, _PLAIN, b"ok\n")

    def _readyz(self) -> Document:
        trouble = self._trouble()
        return Document(200, _PLAIN, b"ok\n") if trouble is None else Document(503, _PLAIN, f"{trouble}\n".encode())

    def _services_page(self) -> Document:
        state = "running" if self._trouble() is None else "starting"
        page = {
            "services": dict.fromkeys(self._services, state),
            "edition": EDITION,
            "version": self._version,
        }
        return Document(200, _JSON, msgspec.json.encode(page))
