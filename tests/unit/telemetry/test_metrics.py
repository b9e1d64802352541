"""What is counted is what Prometheus reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.telemetry import metrics
from broker.telemetry.exposition import Series
from broker.telemetry.metrics import Registry


async def samples(registry: Registry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await metrics.render(registry)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_counters_and_gauges_by_label() -> None:
    registry = Registry()
    sent = registry.counter("frames_sent", "Frames sent.", {"peer": "b-0"})
    registry.counter("frames_sent", "Frames sent.", {"peer": "c-0"}).value += 1
    registry.gauge("connected_peers", "Peers connected.").value = 2
    sent.value += 3
    read = await samples(registry)
    assert read["frames_sent_total", (("peer", "b-0"),)] == 3
    assert read["frames_sent_total", (("peer", "c-0"),)] == 1
    assert read["connected_peers", ()] == 2


def test_asking_again_gives_the_same_object() -> None:
    registry = Registry()
    first = registry.counter("frames_sent", "Frames sent.", {"peer": "b-0"})
    assert registry.counter("frames_sent", "Frames sent.", {"peer": "b-0"}) is first
    assert registry.counter("frames_sent", "Frames sent.", {"peer": "c-0"}) is not first


async def test_a_histogram_is_cumulative_and_in_seconds() -> None:
    registry = Registry()
    fsync = registry.histogram("fsync_seconds", "Time of an fsync.", bounds=(1_000, 5_000))
    for microseconds in (900, 1_000, 1_001, 7_000):
        fsync.observe(microseconds)
    read = await samples(registry)
    assert read["fsync_seconds_bucket", (("le", "0.001"),)] == 2
    assert read["fsync_seconds_bucket", (("le", "0.005"),)] == 3
    assert read["fsync_seconds_bucket", (("le", "+Inf"),)] == 4
    assert read["fsync_seconds_count", ()] == 4
    assert read["fsync_seconds_sum", ()] == pytest.approx(0.009901)


async def test_callbacks_are_read_at_scrape_time_on_the_callers_thread() -> None:
    registry = Registry()
    depths = {"orders": 5}
    threads: list[int] = []

    def read() -> metrics.Reading:
        threads.append(threading.get_ident())
        return [((queue,), depth) for queue, depth in depths.items()]

    registry.gauges("queue_depth", "Messages.", ("queue",), read)
    registry.counters("queue_sent", "Messages sent.", ("queue",), lambda: [(("orders",), 9)])
    assert (await samples(registry))["queue_depth", (("queue", "orders"),)] == 5
    depths["orders"] = 6
    again = await samples(registry)
    assert again["queue_depth", (("queue", "orders"),)] == 6
    assert again["queue_sent_total", (("queue", "orders"),)] == 9
    assert threads == [threading.get_ident()] * 2


async def test_the_text_is_written_off_the_event_loops_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    write = metrics.write

    def noting(families: Sequence[Series]) -> bytes:
        threads.append(threading.get_ident())
        return write(families)

    monkeypatch.setattr(metrics, "write", noting)
    await metrics.render(Registry())
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_what_several_callbacks_tell_is_gathered_once_before_they_are_asked() -> None:
    # given two families that tell the same thing, and a preparation
    registry = Registry()
    happened: list[str] = []

    async def gather() -> None:
        happened.append("gathered")

    def read() -> metrics.Reading:
        happened.append("read")
        return [((), 1)]

    registry.before_reading(gather)
    registry.gauges("queue_depth", "Messages.", (), read)
    registry.counters("queue_sent", "Messages sent.", (), read)
    # when the metrics are read
    await metrics.render(registry)
    # then it was prepared once
    assert happened == ["gathered", "read", "read"]


async def test_others_run_between_one_name_and_the_next() -> None:
    # given a loop in which somebody else always has something to do
    registry = Registry()
    turns = 0
    told: list[int] = []

    async def busy() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def read() -> metrics.Reading:
        told.append(turns)
        return []

    for name in ("one", "two", "three"):
        registry.gauges(name, "Something.", (), read)
    # when the metrics are read
    other = asyncio.ensure_future(busy())
    await metrics.render(registry)
    other.cancel()
    # then the others had a turn before each name
    assert told[0] < told[1] < told[2]


async def test_a_failing_callback_fails_the_scrape() -> None:
    registry = Registry()

    def read() -> metrics.Reading:
        raise LookupError("no such queue")

    registry.gauges("queue_depth", "Messages.", ("queue",), read)
    with pytest.raises(LookupError, match="no such queue"):
        await metrics.render(registry)


async def test_the_process_reports_on_itself() -> None:
    assert b"process_cpu_seconds_total" in await metrics.render(Registry())


@pytest.mark.parametrize("name", ["Frames", "frames_total", "frames-sent", "", "9frames"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower_snake_case"):
        Registry().counter(name, "Frames.")


def test_one_name_has_one_kind_and_one_set_of_labels() -> None:
    registry = Registry()
    registry.counter("frames", "Frames.")
    with pytest.raises(ValueError, match="already a counter"):
        registry.gauge("frames", "Frames.")
    with pytest.raises(ValueError, match="already a counter"):
        registry.counter("frames", "Frames.", {"peer": "b-0"})
    with pytest.raises(ValueError, match="registered already"):
        registry.gauges("frames", "Frames.", (), list)


@pytest.mark.parametrize("bounds", [(), (1, 1), (2, 1)])
def test_bounds_must_ascend(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        Registry().histogram("fsync_seconds", "Time.", bounds=bounds)


def test_series_of_one_name_share_their_bounds() -> None:
    registry = Registry()
    registry.histogram("batch", "Entries.", {"group": "1"}, bounds=(1, 2), scale=1)
    with pytest.raises(ValueError, match="was registered with bounds"):
        registry.histogram("batch", "Entries.", {"group": "1"}, bounds=(1, 3), scale=1)
