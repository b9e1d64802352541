"""Instants and durations as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from broker.base.errors import InvalidArgument
from broker.cli.instants import duration, local_time, parse_duration, parse_instant, parse_past

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("250ms", 0.25), ("90s", 90), ("10m", 600), ("1h30m", 5_400), ("2d", 172_800)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text, "--in") == seconds
    assert parse_instant(f"+{text}", "--at", NOW) == NOW + seconds


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", NOW),
        ("1800000000", 1_800_000_000.0),
        ("2026-05-01T09:00Z", datetime(2026, 5, 1, 9, tzinfo=UTC).timestamp()),
        ("2026-05-01T09:00:30.5+02:00", datetime(2026, 5, 1, 7, 0, 30, 500_000, tzinfo=UTC).timestamp()),
        ("2026-05-01T09:00", datetime(2026, 5, 1, 9).astimezone().timestamp()),
        ("2026-05-01", datetime(2026, 5, 1).astimezone().timestamp()),
    ],
)
def test_instants_are_read(text: str, instant: float) -> None:
    assert parse_instant(text, "--at", NOW) == instant
    assert parse_past(text, "--since", NOW) == instant


def test_a_duration_alone_is_so_long_ago_where_the_past_is_meant() -> None:
    assert parse_past("1h", "--since", NOW) == NOW - 3_600
    assert parse_past("60000d", "--since", NOW) == 0.0


@pytest.mark.parametrize("text", ["", "soon", "10", "-5m", "10 m", "5w", "2026-13-01", "+", "+soon", "m10"])
def test_what_is_no_instant_is_told_with_what_is(text: str) -> None:
    if text == "10":
        assert parse_instant(text, "--at", NOW) == 10
        return
    with pytest.raises(InvalidArgument, match=re.escape(f"--at is {text.removeprefix('+')!r}, which is no")):
        parse_instant(text, "--at", NOW)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_are_shown(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_an_instant_is_shown_in_local_time() -> None:
    local = datetime.fromtimestamp(NOW, UTC).astimezone()
    assert local_time(NOW) == f"{local:%Y-%m-%d %H:%M:%S}"
