"""Form fields as the query protocol uses them: decoded, and grown into a tree by the dots in their names."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from broker.edge.aws.protocol.contract import malformed

Fields = dict[str, str]

FIELD_LIMIT = 10_000
"""Fields of a request: the largest batch has some hundred."""
DEPTH_LIMIT = 12


class Node:
    """What one name stands for: its own text, if any, and what is beneath it."""

    __slots__ = ("parts", "text")

    def __init__(self) -> None:
        self.parts: dict[str, Node] = {}
        self.text: str | None = None

    def numbered(self) -> list[Node]:
        """What is beneath, by its number. Raises AwsError if something is not numbered."""
        numbers: dict[int, Node] = {}
        for name, node in self.parts.items():
            if not (name.isascii() and name.isdigit() and len(name) < 8):
                raise malformed(f"{name[:100]!r} stands where a number is expected", query=True)
            numbers[int(name)] = node
        return [numbers[number] for number in sorted(numbers)]


def decode(content: bytes) -> Fields:
    """Of a form, or of a URL's query; of a name that comes twice the first one counts. Raises AwsError."""
    fields: Fields = {}
    if not content:
        return fields
    for name, value in pairs(content):
        fields.setdefault(name, value)
    return fields


def pairs(content: bytes) -> list[tuple[str, str]]:
    """All names and values, in order. Raises AwsError."""
    parts = content.split(b"&")
    if len(parts) > FIELD_LIMIT:
        raise malformed(f"The request has {len(parts)} parameters, {FIELD_LIMIT} are allowed", query=True)
    found = []
    try:
        for part in parts:
            name, _, value = part.partition(b"=")
            if name:
                found.append((_text(name), _text(value)))
    except UnicodeDecodeError:
        raise malformed("The request is not valid UTF-8", query=True) from None
    return found


def grow(fields: Fields) -> Node:
    root = Node()
    for name, value in fields.items():
        node = root
        steps = name.split(".", DEPTH_LIMIT + 1)
        if len(steps) > DEPTH_LIMIT:
            raise malformed(f"The parameter {name[:100]!r} is nested too deeply", query=True)
        for step in steps:
            below = node.parts.get(step)
            if below is None:
                below = node.parts[step] = Node()
            node = below
        node.text = value
    return root


def _text(raw: bytes) -> str:
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    return (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
