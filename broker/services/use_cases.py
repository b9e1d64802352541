"""A use case that only a group's leader can carry out, in the form in which it travels there.

Request and answer are msgspec structs; a call between nodes carries the group, the time left and the request in one
encoding. This room must not know how a leader is found, nor what any use case does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from broker.base.ids import GroupId
from broker.base.instants import Millis

Request = TypeVar("Request", bound=msgspec.Struct)
Answer = TypeVar("Answer")

_encoder = msgspec.msgpack.Encoder()


class UseCase(Generic[Request, Answer]):
    """``run(group, request, deadline)`` works on the group's leader; elsewhere it raises NotLeader.

    ``deadline`` is an instant of the running node's monotonic clock, in milliseconds.
    """

    def __init__(
        self,
        name: str,
        request: type[Request],
        answer: Any,
        run: Callable[[GroupId, Request, Millis], Awaitable[Answer]],
    ) -> None:
        self.name = name
        self.run = run
        self._requests: msgspec.msgpack.Decoder[tuple[int, int, Request]] = msgspec.msgpack.Decoder(
            tuple[int, int, request]  # type: ignore[valid-type]  # a type at run time
        )
        self._answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(answer)

    def encode_request(self, group: GroupId, remaining: Millis, request: Request) -> bytes:
        return _encoder.encode((group, remaining, request))

    def decode_request(self, payload: bytes) -> tuple[GroupId, Millis, Request]:
        """Raises msgspec.DecodeError: the other node speaks a version that this one does not."""
        group, remaining, request = self._requests.decode(payload)
        return GroupId(group), Millis(remaining), request

    def encode_answer(self, answer: Answer) -> bytes:
        return _encoder.encode(answer)

    def decode_answer(self, payload: bytes) -> Answer:
        return self._answers.decode(payload)
