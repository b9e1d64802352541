"""Requests as botocore signs them and as they arrive, and access keys to check them with."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from broker.base.errors import BrokerError
from broker.base.instants import Millis
from broker.domain.identity.commands import AccessKey
from broker.edge.aws.request import Request
from broker.edge.aws.signing_keys import SigningKey
from broker.edge.aws.sigv4 import read

KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "123456789012", "alice")
ROOT = AccessKey("AKIAROOTROOTROOTROOT", "r" * 40, "123456789012")


class FakeKeys:
    """``remembered``: those that are known without being looked up. ``trouble``: why nothing can be looked up."""

    def __init__(self, *keys: AccessKey) -> None:
        self.keys = {key.id: key for key in keys}
        self.remembered: set[str] = set()
        self.trouble: BrokerError | None = None
        self.looked_up: list[str] = []

    def known(self, identity: str) -> AccessKey | None:
        return self.keys.get(identity) if identity in self.remembered else None

    async def find(self, identity: str, deadline: Millis) -> AccessKey | None:
        self.looked_up.append(identity)
        if self.trouble is not None:
            raise self.trouble
        if identity in self.keys:
            self.remembered.add(identity)
        return self.keys.get(identity)


def arrived(signed: AWSRequest) -> Request:
    """The request as it comes to the server."""
    prepared = signed.prepare()
    url = urlsplit(prepared.url)
    headers = {
        name.lower().encode(): value if isinstance(value, bytes) else str(value).encode("latin-1")
        for name, value in prepared.headers.items()
    }
    headers.setdefault(b"host", url.netloc.encode())
    body = prepared.body or b""
    body = body if isinstance(body, bytes) else body.encode()
    return Request(prepared.method, url.path or "/", url.query.encode(), headers, body)


def signed(
    url: str = "http://localhost:4566/",
    method: str = "POST",
    body: bytes = b"{}",
    headers: dict[str, str] | None = None,
    auth: Callable[..., SigV4Auth] = SigV4Auth,
    service: str = "sqs",
    token: str | None = None,
    key: AccessKey = KEY,
    **options: Any,
) -> Request:
    """By botocore, now. ``options``: of ``auth``."""
    target = {"X-Amz-Target": "AmazonSQS.SendMessage"}
    request = AWSRequest(method=method, url=url, data=body, headers=target if headers is None else headers)
    auth(Credentials(key.id, key.secret, token), service, "eu-west-1", **options).add_auth(request)
    return arrived(request)


def streamed(body: bytes, size: int, key: AccessKey = KEY) -> Request:
    """The same in chunks of ``size``, each with its signature."""
    headers = {
        "X-Amz-Target": "AmazonSQS.SendMessage",
        "X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "X-Amz-Decoded-Content-Length": str(len(body)),
    }
    request = signed(body=b"", headers=headers, key=key)
    signature = read(request, {})
    scope, before = signature.credential.scope, signature.signature.decode()
    signing_key = SigningKey(key.secret, scope)
    request.body = b""
    for start in range(0, len(body) + size, size):
        data = body[start : start + size]
        hashes = f"{sha256(b'').hexdigest()}\n{sha256(data).hexdigest()}"
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{signature.stamp}\n{scope}\n{before}\n{hashes}"
        before = signing_key.sign(text.encode()).decode()
        request.body += f"{len(data):x};chunk-signature={before}\r\n".encode() + data + b"\r\n"
    return request
