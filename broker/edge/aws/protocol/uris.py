"""The addresses of REST operations: templates with labels, as the models have them, and what fits them."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from broker.edge.aws.models import OperationModel
from broker.edge.aws.protocol import form
from broker.edge.aws.protocol.contract import malformed

_LABEL = re.compile(r"\{([^{}+]+)(\+?)\}")


class Template(NamedTuple):
    """``names``: of the labels, in order. ``fixed``: what the URL's query has to say besides. ``rank``: smaller is more
    special and goes first."""

    method: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    fixed: tuple[tuple[str, str], ...]
    rank: tuple[int, tuple[int, ...]]

    def labels(self, path: str) -> dict[str, str] | None:
        """By their names, decoded; None if the path does not fit. Raises AwsError."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        try:
            return {
                name: unquote_to_bytes(value).decode() for name, value in zip(self.names, match.groups(), strict=True)
            }
        except UnicodeDecodeError:
            raise malformed("The path is not valid UTF-8.") from None

    def fits(self, method: str, path: str, fields: dict[str, str]) -> bool:
        return (
            method == self.method
            and self.pattern.fullmatch(path) is not None
            and all(fields.get(name) == value for name, value in self.fixed)
        )


def template(operation: OperationModel) -> Template:
    path, _, query = operation.uri.partition("?")
    fixed = tuple(form.decode(query.encode()).items())
    segments = path.strip("/").split("/")
    rank = tuple(2 if "+}" in each else 1 if "{" in each else 0 for each in segments)
    pattern = "/".join(_segment_pattern(each) for each in segments)
    names = tuple(label[1] for label in _LABEL.finditer(path))
    return Template(operation.method, re.compile(f"/{pattern}/?"), names, fixed, (-len(fixed), rank))


def _segment_pattern(segment: str) -> str:
    """A label stands for all of a segment or a part of it; a greedy one for several."""
    pieces, end = [], 0
    for label in _LABEL.finditer(segment):
        pieces.append(re.escape(segment[end : label.start()]))
        pieces.append("(.+?)" if label[2] else "([^/]+)")
        end = label.end()
    return "".join(pieces) + re.escape(segment[end:])
