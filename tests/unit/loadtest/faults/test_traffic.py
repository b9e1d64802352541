"""Messages that say whose they are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loadtest.faults.disk_faults import rot
from loadtest.faults.traffic import BODY_BYTES, body_of, key_of


@pytest.mark.parametrize("key", [(0, 0), (7, 123_456)])
def test_a_body_tells_its_key_and_is_like_no_other(key: tuple[int, int]) -> None:
    body = body_of(key)
    assert len(body) == BODY_BYTES
    assert key_of(body) == key
    assert body_of((key[0], key[1] + 1)) != body


def test_another_body_is_no_key() -> None:
    with pytest.raises(ValueError):
        key_of(b"something")


def test_rot_changes_some_bytes_of_what_is_used(tmp_path: Path) -> None:
    # given a file that is mostly preallocated
    path = tmp_path / "1.seg"
    before = bytes(range(1, 101)) + bytes(10_000)
    path.write_bytes(before)
    # when it rots
    rot(path, random.Random(3))
    # then some of the first hundred bytes are others, and it is as long as it was
    after = path.read_bytes()
    changed = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    assert 0 < len(changed) <= 8
    assert max(changed) < 100
