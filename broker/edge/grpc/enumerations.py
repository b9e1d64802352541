"""Enumerations of the API and the domain's words for the same things: one table each, both ways.

A number that the API does not know is an error that names those it knows. 0 stands for "not set" and never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.base.errors import InvalidArgument
from broker.domain.queues.model import (
    ALLOW_ALL,
    BY_QUEUE,
    DELAYED,
    DENY_ALL,
    IN_FLIGHT,
    PER_MESSAGE_GROUP,
    PER_QUEUE,
    VISIBLE,
)
from broker.domain.queues.questions import CANCELLED, COMPLETED, FAILED, RUNNING
from broker.pb.queues.v1 import queues_pb2


class Enumeration:
    """``what`` says in errors what is counted off."""

    def __init__(self, what: str, kind: Any, words: Mapping[int, str]) -> None:
        self._what = what
        self._kind = kind
        self._words = words
        self._numbers = {word: number for number, word in words.items()}

    def word(self, number: int) -> str:
        """The domain's. Raises InvalidArgument."""
        word = self._words.get(number)
        if word is None:
            known = ", ".join(f"{self._kind.Name(known)} ({known})" for known in self._words)
            raise InvalidArgument(f"{self._what} {number} is not known: use one of {known}")
        return word

    def number(self, word: str) -> Any:
        """The API's. Raises KeyError."""
        return self._numbers[word]


_PER: dict[int, str] = {queues_pb2.PER_QUEUE: PER_QUEUE, queues_pb2.PER_MESSAGE_GROUP: PER_MESSAGE_GROUP}

DEDUPLICATION_SCOPE = Enumeration("deduplication scope", queues_pb2.Per, _PER)
THROUGHPUT_LIMIT = Enumeration("throughput limit", queues_pb2.Per, _PER)
REDRIVE_PERMISSION = Enumeration(
    "redrive permission",
    queues_pb2.RedrivePermission,
    {
        queues_pb2.REDRIVE_PERMISSION_ALLOW_ALL: ALLOW_ALL,
        queues_pb2.REDRIVE_PERMISSION_DENY_ALL: DENY_ALL,
        queues_pb2.REDRIVE_PERMISSION_BY_QUEUE: BY_QUEUE,
    },
)
MESSAGE_STATE = Enumeration(
    "message state",
    queues_pb2.MessageState,
    {
        queues_pb2.MESSAGE_STATE_VISIBLE: VISIBLE,
        queues_pb2.MESSAGE_STATE_IN_FLIGHT: IN_FLIGHT,
        queues_pb2.MESSAGE_STATE_DELAYED: DELAYED,
    },
)
MOVE_STATUS = Enumeration(
    "move status",
    queues_pb2.MoveStatus,
    {
        queues_pb2.MOVE_STATUS_RUNNING: RUNNING,
        queues_pb2.MOVE_STATUS_COMPLETED: COMPLETED,
        queues_pb2.MOVE_STATUS_CANCELLED: CANCELLED,
        queues_pb2.MOVE_STATUS_FAILED: FAILED,
    },
)
