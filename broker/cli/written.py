"""A message as one line of JSON, as `receive --json` and `browse --json` write it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from broker.client.message import Message
from broker.client.model import BrowsedMessage, ReceivedMessage

_ALWAYS = ("receive_count", "sent_at", "first_received_at")
_SOMETIMES = ("state", "until", "message_group", "deduplication_id", "sequence_number")
"""Left out where the message has none."""


def as_line(message: Message | ReceivedMessage | BrowsedMessage) -> bytes:
    """Without a newline. A body that is no UTF-8 is in ``body_base64`` instead of ``body``."""
    found: dict[str, Any] = {"id": str(message.id)}
    try:
        found["body"] = message.body.decode()
    except UnicodeDecodeError:
        found["body_base64"] = base64.b64encode(message.body).decode()
    found["attributes"] = {
        name: {"type": each.type, "value": each.value.decode(errors="backslashreplace")}
        for name, each in message.attributes.items()
    }
    found |= {name: getattr(message, name) for name in _ALWAYS}
    found |= {name: value for name in _SOMETIMES if (value := getattr(message, name, None)) is not None}
    if message.origin is not None:
        found["origin"] = msgspec.to_builtins(message.origin) | {"id": str(message.origin.id)}
    return msgspec.json.encode(found)
