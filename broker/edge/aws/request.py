"""A request as it came over HTTP, whichever version, and who signed it. Read once, lazily, from bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

_CREDENTIAL = re.compile(r"([^/,\s]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request")
_CREDENTIALS_KEPT = 4_096


class Chunk(NamedTuple):
    """A piece of a body, and what it was signed with."""

    data: bytes
    signature: bytes


class Request(msgspec.Struct):
    """``headers``: names in lower case; values of a name that came more than once are joined by commas. ``path``: as
    in the URL, still percent-encoded; ``query``: what follows the question mark. ``scheme``: http or https.
    ``source_ip``: of the other end of the connection, "" when it has none. ``chunks``: what ``body`` was put together
    from, if it came in signed chunks."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    scheme: str = "http"
    source_ip: str = ""
    chunks: tuple[Chunk, ...] = ()

    def header(self, name: bytes) -> str:
        """Its value, "" when it was not sent."""
        return self.headers.get(name, b"").decode("latin-1")


class Credential(msgspec.Struct, frozen=True):
    """What a signature says of itself: whose it is, and for which day, region and service it holds."""

    access_key: str
    date: str
    region: str
    service: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


class Credentials:
    """Reads credentials; a client sends the same one with each request of a day."""

    def __init__(self) -> None:
        self._known: dict[str, Credential | None] = {}

    def of(self, request: Request, fields: Mapping[str, str] | None) -> Credential | None:
        """From the header, or from the URL of a presigned request (``fields``); None if there is none."""
        header = request.headers.get(b"authorization")
        if header is not None:
            _, found, rest = header.partition(b"Credential=")
            return self._read(rest.partition(b",")[0].decode("latin-1")) if found else None
        text = fields.get("X-Amz-Credential") if fields else None
        return self._read(text) if text else None

    @staticmethod
    def parse(text: str) -> Credential | None:
        """None if it is not one."""
        match = _CREDENTIAL.fullmatch(text.strip())
        return None if match is None else Credential(*match.groups())

    def _read(self, text: str) -> Credential | None:
        if text in self._known:
            return self._known[text]
        found = self.parse(text)
        if len(self._known) >= _CREDENTIALS_KEPT:
            self._known.clear()
        if len(text) < 400:
            self._known[text] = found
        return found
