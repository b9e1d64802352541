"""The text for Prometheus says what its own writer says."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.telemetry.exposition import Kind, Labels, Series, write


def plain(kind: Kind, names: Labels, values: list[tuple[Labels, float]]) -> Series:
    return Series("orders", "Orders so far.", kind, names, 1, values, [])


def read(*families: Series) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(write(families).decode())
        for sample in family.samples
    }


def test_the_text_in_full() -> None:
    batches = Series(
        "batches", "Entries\nof a batch.", "histogram", ("group",), 10, [], [(("7",), (10, 20), [3, 0, 2], 95)]
    )
    assert write([plain("counter", ("queue", "state"), [(("a", "b"), 3)]), batches]).decode() == (
        "# HELP orders_total Orders so far.\n"
        "# TYPE orders_total counter\n"
        'orders_total{queue="a",state="b"} 3\n'
        "# HELP batches Entries\\nof a batch.\n"
        "# TYPE batches histogram\n"
        'batches_bucket{group="7",le="1.0"} 3\n'
        'batches_bucket{group="7",le="2.0"} 3\n'
        'batches_bucket{group="7",le="+Inf"} 5\n'
        'batches_count{group="7"} 5\n'
        'batches_sum{group="7"} 9.5\n'
    )


@pytest.mark.parametrize("value", [0, 7, 0.25, 1e300, -3, math.inf, -math.inf, 1 << 70])
def test_numbers_are_read_as_they_were(value: float) -> None:
    assert read(plain("gauge", (), [((), value)])) == {("orders", ()): value}


@pytest.mark.parametrize("label", ["plain", 'with "quotes"', "back\\slash", "two\nlines", '\\"\n', "ü", ""])
def test_any_label_is_read_as_it_was_alone_or_with_others(label: str) -> None:
    assert read(plain("gauge", ("queue",), [((label,), 1)])) == {("orders", (("queue", label),)): 1}
    both = plain("gauge", ("queue", "state"), [((label, label), 1)])
    assert read(both) == {("orders", (("queue", label), ("state", label))): 1}


def test_a_name_without_any_series_is_still_described() -> None:
    assert write([plain("gauge", ("queue",), [])]) == b"# HELP orders Orders so far.\n# TYPE orders gauge\n"
