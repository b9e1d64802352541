"""What a large queue may cost: bytes per message, and work that does not grow with what is not touched.

Work is counted in lines of the broker's code that run, not in time, so that the answer is the same on every machine.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from broker.base.instants import Millis, WallMillis
from broker.domain.queues import commands
from broker.domain.queues.model import QueueAttributes
from broker.domain.queues.standard import StandardQueue
from tests.unit.domain.queue_log import CONTENT, QUEUE, START, QueueLog


def lines_run(action: Callable[[], object]) -> int:
    """Lines of broker.domain that run during ``action``."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "broker/domain" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def backlog(messages: int, attributes: QueueAttributes | None = None) -> QueueLog:
    """Sent one by one, a millisecond apart."""
    log = QueueLog(attributes)
    for _ in range(messages):
        log.at += 1
        log.send()
    return log


def with_in_flight(messages: int) -> QueueLog:
    log = QueueLog()
    log.send(10)
    for _ in range(messages // 100):
        log.at += 1
        log.send(100)
        log.receive(100)
    log.send(10)
    return log


def bytes_kept(build: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        kept = build()
        gc.collect()
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return allocated


@pytest.mark.parametrize(("messages", "delay"), [(200_000, 0), (50_000, 900_000)], ids=["visible", "delayed"])
def test_an_idle_message_sent_by_itself_costs_at_most_sixteen_bytes(messages: int, delay: int) -> None:
    def sent_one_by_one() -> StandardQueue:
        queue = StandardQueue(QUEUE, "orders", QueueAttributes(delay=Millis(delay)), WallMillis(START), 120_000)
        send = commands.Send(QUEUE, 1, 1, None, CONTENT)
        for index in range(messages):
            queue.send(send, index, WallMillis(START + index))
        assert queue.messages == messages
        return queue

    assert bytes_kept(sent_one_by_one) / messages <= 16


def test_a_message_that_came_back_costs_at_most_120_bytes() -> None:
    def received_and_returned() -> QueueLog:
        log = QueueLog()
        for _ in range(100):
            log.send(1000)
        for _ in range(100):
            log.receive(1000)
        log.at += 30_000
        assert log.where() == (0, 100_000, 0)
        log.receive(1, timeout=0)
        assert log.where() == (100_000, 0, 0)
        return log

    assert bytes_kept(received_and_returned) / 100_000 <= 120


@pytest.mark.parametrize(
    "action",
    [
        lambda log: log.send(100),
        lambda log: log.receive(10),
        lambda log: log.send(3, delays=(0, 10, 20)),
        lambda log: log.counts(),
        lambda log: log.has_visible(),
        lambda log: log.machine.next_deadline(),
        lambda log: log.machine.advance(WallMillis(START + log.at + 1)),
        lambda log: log.apply(commands.PurgeQueue(QUEUE)),
    ],
    ids=["send", "receive", "send delayed", "counts", "has visible", "next deadline", "advance", "purge"],
)
@pytest.mark.parametrize("build", [backlog, with_in_flight])
def test_the_work_of_one_step_does_not_grow_with_the_queue(
    action: Callable[[QueueLog], object], build: Callable[[int], QueueLog]
) -> None:
    small, large = build(1_000), build(20_000)
    assert lines_run(lambda: action(large)) <= lines_run(lambda: action(small)) + 20


def test_a_send_of_a_hundred_is_no_more_work_than_a_send_of_one() -> None:
    log = QueueLog()
    log.send()
    assert lines_run(lambda: log.send(100)) == lines_run(lambda: log.send(1))


def test_expiry_of_a_backlog_works_by_chunks() -> None:
    log = backlog(50_000)
    log.at += QueueAttributes().retention
    assert lines_run(log.receive) < 1_000
    assert log.counts().expired_total == 50_000


def test_the_end_of_a_common_delay_works_by_chunks() -> None:
    log = backlog(50_000, QueueAttributes(delay=Millis(900_000)))
    log.at += 900_000
    assert lines_run(log.receive) < 5_000
    assert log.where() == (49_990, 10, 0)


def test_a_capture_works_by_chunks() -> None:
    log = backlog(50_000)
    assert lines_run(log.machine.dump) < 500
    assert lines_run(log.machine.live_entries) < 500


def test_answered_deliveries_leave_nothing_behind() -> None:
    log = QueueLog(QueueAttributes(visibility_timeout=Millis(43_200_000)))

    def consume(rounds: int) -> QueueLog:
        for _ in range(rounds):
            log.send(3)
            log.delete(*log.receive(3))
        return log

    consume(500)
    assert bytes_kept(lambda: consume(5_000)) < 20_000


def test_a_batch_of_which_little_is_left_makes_place() -> None:
    def leave_one_of_each_thousand() -> QueueLog:
        log = QueueLog()
        for _ in range(50):
            log.send(1000)
            log.delete(*log.receive(1000)[:-1])
        assert log.where() == (0, 50, 0)
        return log

    # Of whole batches, 50,000 keys and times, it would be several million.
    assert bytes_kept(leave_one_of_each_thousand) < 500_000
