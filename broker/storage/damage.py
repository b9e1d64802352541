"""How damage is reported: always the file, the offset, the group if known, what was wrong, and what to do."""

from __future__ import annotations

from broker.base.errors import DataCorrupt


def corrupt(path: str, offset: int, what: str, group: int | None = None) -> DataCorrupt:
    owner = "" if group is None else f", group {group}"
    return DataCorrupt(f"{path} at offset {offset}{owner}: {what}; remove this node's data and let it join again")
