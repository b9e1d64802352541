"""A body in signed chunks (aws-chunked): taken apart when it arrives, its signatures checked when the key is known.

Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks", Amazon S3 API
Reference.
"""

from __future__ import annotations

import re

from broker.edge.aws.contract import AwsError
from broker.edge.aws.request import Chunk, Request

STREAMING = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
CONTENT_HASH = b"x-amz-content-sha256"
_HEAD = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})\r\n")


def take_apart(request: Request) -> None:
    """If the body is in signed chunks: it is what they hold from now on. Raises AwsError when they are not whole."""
    if request.headers.get(CONTENT_HASH) != STREAMING:
        return
    request.chunks = _chunks(request.body)
    request.body = b"".join(chunk.data for chunk in request.chunks)
    length = request.header(b"x-amz-decoded-content-length")
    if length and length != str(len(request.body)):
        raise _incomplete()


def _chunks(body: bytes) -> tuple[Chunk, ...]:
    found: list[Chunk] = []
    position = 0
    while True:
        head = _HEAD.match(body, position)
        if head is None:
            raise _incomplete()
        end = head.end() + int(head[1], 16)
        found.append(Chunk(body[head.end() : end], head[2]))
        position = end + 2
        if body[end:position] != b"\r\n":
            raise _incomplete()
        if not found[-1].data:
            if position != len(body):
                raise _incomplete()
            return tuple(found)


def _incomplete() -> AwsError:
    return AwsError("IncompleteBody", "The request body terminated unexpectedly")
