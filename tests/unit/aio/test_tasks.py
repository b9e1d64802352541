"""Scopes own their tasks: failures are told, closing leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging

import pytest

from broker.aio.tasks import TaskScope


class Failures:
    """An owner that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, BaseException]] = []

    def __call__(self, task_name: str, error: BaseException) -> None:
        self.told.append((task_name, error))


@pytest.fixture
def failures() -> Failures:
    return Failures()


async def forever() -> None:
    await asyncio.Event().wait()


async def fail_with(error: Exception) -> None:
    raise error


async def turns_of_the_loop(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_result_is_there_for_who_awaits_the_task(failures: Failures) -> None:
    async def answer() -> int:
        return 42

    async with TaskScope("component", failures) as scope:
        assert await scope.start(answer(), name="answer") == 42
        await turns_of_the_loop()
        assert len(scope) == 0
    assert failures.told == []


async def test_a_failing_task_is_logged_and_told_to_the_owner(
    failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("broken")
    async with TaskScope("component", failures) as scope:
        scope.start(fail_with(error), name="reader")
        await turns_of_the_loop()
    assert failures.told == [("component/reader", error)]
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_only_the_first_failure_ends_the_component_but_every_one_is_logged(
    failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    async with TaskScope("component", failures) as scope:
        scope.start(fail_with(ValueError("first")), name="one")
        scope.start(fail_with(ValueError("second")), name="two")
        await turns_of_the_loop()
    assert [str(error) for _, error in failures.told] == ["first"]
    assert len(caplog.records) == 2


async def test_close_cancels_and_waits_for_the_clean_up_of_every_task(failures: Failures) -> None:
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            await turns_of_the_loop(5)
            cleaned.append("done")

    scope = TaskScope("component", failures)
    scope.start(work(), name="a")
    scope.start(work(), name="b")
    await turns_of_the_loop()
    await scope.close()
    assert cleaned == ["done", "done"]
    assert len(scope) == 0
    assert failures.told == []


async def test_an_error_during_clean_up_is_told_too(failures: Failures) -> None:
    async def work() -> None:
        try:
            await forever()
        finally:
            raise OSError("could not clean up")

    scope = TaskScope("component", failures)
    scope.start(work(), name="a")
    await turns_of_the_loop()
    await scope.close()
    assert [str(error) for _, error in failures.told] == ["could not clean up"]


async def test_a_closed_scope_refuses_new_work(failures: Failures) -> None:
    scope = TaskScope("component", failures)
    await scope.close()
    with pytest.raises(RuntimeError, match=r"'late'.*'component' is closed"):
        scope.start(forever(), name="late")
    with pytest.raises(RuntimeError, match=r"'inner'.*'component' is closed"):
        scope.child("inner")


async def test_close_may_be_called_twice_and_at_once(failures: Failures) -> None:
    scope = TaskScope("component", failures)
    scope.start(forever(), name="a")
    await asyncio.gather(scope.close(), scope.close())
    await scope.close()
    assert len(scope) == 0


async def test_a_task_may_close_its_own_scope_and_is_the_last(failures: Failures) -> None:
    scope = TaskScope("component", failures)
    left: list[int] = []

    async def ends_all() -> None:
        await scope.close()
        left.append(len(scope))

    scope.start(forever(), name="other")
    closer = scope.start(ends_all(), name="closer")
    await closer
    assert left == [1]


async def test_closing_goes_on_when_the_closer_is_cancelled(failures: Failures) -> None:
    may_end = asyncio.Event()
    ended: list[bool] = []

    async def slow_to_end() -> None:
        try:
            await forever()
        finally:
            await may_end.wait()
            ended.append(True)

    scope = TaskScope("component", failures)
    scope.start(slow_to_end(), name="slow")
    await turns_of_the_loop()
    closer = asyncio.ensure_future(scope.close())
    await turns_of_the_loop()
    closer.cancel()
    await turns_of_the_loop()
    assert not closer.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await closer
    assert ended == [True]


async def test_a_child_closes_with_its_parent_and_its_failures_are_the_parents(failures: Failures) -> None:
    scope = TaskScope("node", failures)
    child = scope.child("mesh")
    child.start(forever(), name="dialler")
    child.start(fail_with(ValueError("broken")), name="reader")
    await turns_of_the_loop()
    assert [name for name, _ in failures.told] == ["node/mesh/reader"]
    assert len(scope) == 1
    await scope.close()
    assert len(child) == 0
    with pytest.raises(RuntimeError, match="closed"):
        child.start(forever(), name="late")


async def test_a_child_may_close_before_its_parent(failures: Failures) -> None:
    scope = TaskScope("node", failures)
    child = scope.child("mesh")
    child.start(forever(), name="dialler")
    await child.close()
    async with scope:
        survivor = scope.start(forever(), name="other")
        await turns_of_the_loop()
        assert not survivor.done()


async def test_a_failed_callback_is_reported_like_a_failed_task(
    failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("broken")
    async with TaskScope("component", failures) as scope:
        scope.report("frame received", error)
    assert failures.told == [("component/frame received", error)]
    assert len(caplog.records) == 1


async def test_a_task_that_does_not_heed_its_cancellation_is_named(
    failures: Failures, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.aio.tasks._PATIENCE_SECONDS", 0.001)
    may_end = asyncio.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await may_end.wait()

    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            may_end.set()

    scope = TaskScope("component", failures)
    scope.start(stubborn(), name="mule")
    await turns_of_the_loop()
    logger, release = logging.getLogger("broker.aio.tasks"), Release()
    logger.addHandler(release)
    await scope.close()
    logger.removeHandler(release)
    assert caplog.records[0].fields == {"tasks": ["component/mule"]}  # type: ignore[attr-defined]
