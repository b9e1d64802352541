"""Scalars as texts, the way forms, XML, URLs and headers carry them; and what numbers there are, for all protocols."""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from broker.edge.aws.models import Shape
from broker.edge.aws.protocol import timestamps

BITS = {"integer": 32, "long": 64}
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""What JSON and texts have no digits for."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
"""Python's own reading takes more: underscores, spaces, digits of other scripts."""


def from_text(shape: Shape, timestamp_format: str = "iso8601") -> Callable[[str], Any]:
    """The reader, which raises ValueError. ``timestamp_format``: where the model does not say."""
    if shape.kind == "timestamp":
        return timestamps.FROM_TEXT[shape.timestamp_format or timestamp_format]
    return _FROM_TEXT[shape.kind]


def to_text(shape: Shape, timestamp_format: str = "iso8601") -> Callable[[Any], str]:
    if shape.kind == "timestamp":
        return timestamps.TO_TEXT[shape.timestamp_format or timestamp_format]
    return _TO_TEXT[shape.kind]


def blob(text: str) -> bytes:
    """Raises ValueError."""
    return b64decode(text, validate=True)


def said(value: float) -> float | str:
    """A number, or the word for one that is not finite."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _integer(kind: str) -> Callable[[str], int]:
    beyond = 1 << (BITS[kind] - 1)

    def read(text: str) -> int:
        if _INTEGER.fullmatch(text) is None or not -beyond <= int(text) < beyond:
            raise ValueError(text)
        return int(text)

    return read


def _float(text: str) -> float:
    if text in NOT_FINITE:
        return NOT_FINITE[text]
    if _FLOAT.fullmatch(text) is None:
        raise ValueError(text)
    return float(text)


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer("integer"),
    "long": _integer("long"),
    "boolean": _boolean,
    "float": _float,
    "double": _float,
    "blob": blob,
}
_TO_TEXT: dict[str, Callable[[Any], str]] = {
    "string": str,
    "integer": str,
    "long": str,
    "boolean": lambda value: "true" if value else "false",
    "float": lambda value: str(said(value)),
    "double": lambda value: str(said(value)),
    "blob": lambda value: b64encode(value).decode(),
}
