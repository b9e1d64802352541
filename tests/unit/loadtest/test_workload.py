"""Workloads: what a TOML file may say, and how a mistake is told."""

from __future__ import annotations

import pytest

from loadtest.workload import SHIPPED, Phase, WorkloadError, load, parse

GOOD = """
queue = "q"
[[phases]]
name = "warm"
seconds = 1
rate = 10
measured = false
[[phases]]
name = "main"
seconds = 2.5
rate = 100
"""


def test_phases_are_read_in_order_with_their_defaults() -> None:
    workload = parse(GOOD, "good.toml")
    assert workload.phases == (Phase("warm", 1, 10, measured=False), Phase("main", 2.5, 100, measured=True))
    assert workload.seconds == 3.5
    assert workload.message_bytes == 1024


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_shipped_workloads_load_by_name(name: str) -> None:
    assert load(name).phases


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("rate = 100", "rate = 0"), "phase 'main' has 2.5 seconds at rate 0"),
        (("seconds = 1\n", "seconds = -1\n"), "phase 'warm' has -1"),
        (('queue = "q"', 'queue = "q"\nmessage_bytes = 8'), "message_bytes is 8"),
        (('queue = "q"', 'queue = "q"\nproducers = 0'), "producers is 0; at least 1"),
        (('queue = "q"', 'queue = "q"\nspeed = 1'), "speed"),
        (("rate = 100", 'rate = "fast"'), "rate"),
        (("[[phases]]", "[[phases"), "bad.toml"),
        (("rate = 100", "rate = 100\nmeasured = false"), "nothing would be reported"),
    ],
)
def test_a_mistake_names_the_file_and_the_value(change: tuple[str, str], told: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse(GOOD.replace(*change), "bad.toml")
    assert "bad.toml" in str(caught.value)
    assert told in str(caught.value)


def test_an_unknown_workload_is_answered_with_the_known_ones() -> None:
    with pytest.raises(WorkloadError, match="one of burst, steady"):
        load("stedy")
