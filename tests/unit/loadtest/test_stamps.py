"""Stamps survive the journey in a body."""

from __future__ import annotations

import pytest

from loadtest.stamps import STAMP_BYTES, Stamp, stamp_of, stamped


def test_a_stamp_is_read_back_and_the_filler_follows() -> None:
    stamp = Stamp(run=4_000_000_000, producer=3, sequence=2**40, due_ns=2**60, phase=7)
    body = stamped(stamp, b"filler")
    assert stamp_of(body) == stamp
    assert body[STAMP_BYTES:] == b"filler"


def test_a_body_too_short_for_a_stamp_is_refused() -> None:
    with pytest.raises(ValueError, match="carries no stamp"):
        stamp_of(b"short")
