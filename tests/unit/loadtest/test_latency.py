"""Latencies: percentiles and buckets of known values."""

from __future__ import annotations

import pytest

from loadtest.latency import Bucket, Latencies


def _recorded(*micros: int) -> Latencies:
    latencies = Latencies()
    for each in micros:
        latencies.record(each * 1000)
    return latencies


def test_percentiles_of_a_known_spread() -> None:
    found = _recorded(*range(1, 10_001)).percentiles()
    assert found[50.0] == pytest.approx(5_000, rel=0.002)
    assert found[99.0] == pytest.approx(9_900, rel=0.002)
    assert found[100.0] == pytest.approx(10_000, rel=0.002)


def test_nothing_recorded_has_no_percentiles() -> None:
    assert _recorded().percentiles() == {}
    assert _recorded().buckets() == []


def test_buckets_span_what_was_recorded_without_holes() -> None:
    assert _recorded(110, 150, 199, 1_200).buckets() == [
        Bucket(100, 200, 3),
        Bucket(200, 500, 0),
        Bucket(500, 1_000, 0),
        Bucket(1_000, 2_000, 1),
    ]
