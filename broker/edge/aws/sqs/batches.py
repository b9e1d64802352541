"""What all batch requests have in common: ids that tell entries apart, and answers that may fail one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from broker.edge.aws.contract import AwsError
from broker.edge.aws.sqs.errors import empty_batch, invalid_entry_id, repeated_entry_id, too_many_entries

MAX_ENTRIES = 10
MAX_BYTES = 1_048_576
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)

Entries = Sequence[dict[str, Any]]


def entries_of(given: dict[str, Any], kind: str) -> Entries:
    """``kind``: the shape's name. Raises AwsError."""
    entries: Entries = given["Entries"]
    if not entries:
        raise empty_batch(kind)
    if len(entries) > MAX_ENTRIES:
        raise too_many_entries(MAX_ENTRIES, len(entries))
    seen: set[str] = set()
    for entry in entries:
        identity = entry["Id"]
        if not _ID.fullmatch(identity):
            raise invalid_entry_id()
        if identity in seen:
            raise repeated_entry_id(identity)
        seen.add(identity)
    return entries


def failed(entry: dict[str, Any], error: AwsError) -> dict[str, Any]:
    return {
        "Id": entry["Id"],
        "SenderFault": error.sender_fault,
        "Code": error.query_code,
        "Message": error.message,
    }
