"""Dates as policies write them, compared with the calendar of the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.domain.policies import dates


def at(*fields: int) -> int:
    return round(datetime(*fields, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970", 0),
        ("2026", at(2026, 1, 1)),
        ("2026-03", at(2026, 3, 1)),
        ("2024-02-29", at(2024, 2, 29)),
        ("2026-01-31T12:30Z", at(2026, 1, 31, 12, 30)),
        ("2026-01-31T12:30:45Z", at(2026, 1, 31, 12, 30, 45)),
        ("2026-01-31T12:30:45.5Z", at(2026, 1, 31, 12, 30, 45) + 500),
        ("2026-01-31T12:30:45.123456789Z", at(2026, 1, 31, 12, 30, 45) + 123),
        ("2026-01-31T12:30:45+02:00", at(2026, 1, 31, 10, 30, 45)),
        ("2026-01-31T23:30:45-02:30", at(2026, 2, 1, 2, 0, 45)),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.25", 1_700_000_000_250),
        ("-1", -1_000),
        ("-1.5", -1_500),
        ("0", 0),
    ],
)
def test_dates(text: str, instant: int) -> None:
    assert dates.read(text) == instant


def test_every_day_of_four_centuries_is_where_the_calendar_has_it() -> None:
    day, epoch = datetime(1899, 12, 28, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
    while day.year < 2301:
        assert dates.read(f"{day:%Y-%m-%d}") == (day - epoch) // timedelta(milliseconds=1)
        day += timedelta(days=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13",
        "2026-00",
        "2026-02-29",
        "2100-02-29",
        "2026-01-32",
        "2026-01-31T12:30:45",
        "2026-01-31T12Z",
        "2026-01-31T24:00Z",
        "2026-01-31T23:60Z",
        "2026-01-31T23:59:60Z",
        "2026-01-31T23:59:59+24:00",
        "2026-1-1",
        "2026-01-31 12:30:45Z",
        "12345678901234567890",
        "٢٠٢٦",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert dates.read(text) is None
