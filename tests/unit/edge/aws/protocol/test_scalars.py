from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.edge.aws.models import Kind, Shape
from broker.edge.aws.protocol import scalars


def read(kind: Kind, text: str) -> Any:
    return scalars.from_text(Shape("Any", kind))(text)


def write(kind: Kind, value: Any) -> str:
    return scalars.to_text(Shape("Any", kind))(value)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans())
def test_what_is_written_is_read_again(small: int, large: int, real: float, truth: bool) -> None:
    kinds: tuple[Kind, ...] = ("integer", "long", "double", "boolean")
    for kind, value in zip(kinds, (small, large, real, truth), strict=True):
        assert read(kind, write(kind, value)) == value


def test_numbers_that_have_no_digits() -> None:
    assert [write("double", each) for each in (math.nan, math.inf, -math.inf)] == ["NaN", "Infinity", "-Infinity"]
    assert math.isnan(read("double", "NaN"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(
            ("integer", text)
            for text in ("", " 1", "1_0", "\u0661", "0x1", "1.0", str(2**31), str(-(2**31) - 1), "9" * 5_000)
        ),
        *(("long", text) for text in ("", "one", str(2**63), str(-(2**63) - 1))),
        *(("double", text) for text in ("", "1_0", " 1", "nan", "inf", "infinity", "\u0661", "1e", "1e99999", ".")),
        *(("boolean", text) for text in ("", "True", "1", "yes")),
        *(("blob", text) for text in ("!", "AA", "AA==\n", "\u00e9")),
        *(("timestamp", text) for text in ("", "now", "2026-13-01T00:00:00Z")),
    ],
)
def test_texts_that_are_none(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        read(kind, text)
