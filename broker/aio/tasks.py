"""Task hygiene: the one place that creates asyncio tasks.

Every task belongs to a scope, and a scope belongs to a component. A task that fails is never a silent hole in its
component: the failure is logged with its traceback and told to the component's owner, who ends the component or the
process. Closing a scope cancels what runs in it and waits until it has ended, so nothing outlives its owner.

This room must not know what any task does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

_logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0
"""After which a task that does not heed its cancellation is named in the log; closing waits on."""

OnFailure = Callable[[str, BaseException], None]
"""Told the failed task's name and its error, once per scope tree: the first failure ends the component."""

Result = TypeVar("Result")


class TaskScope:
    """The tasks of one component. To be used from the event loop's thread only."""

    def __init__(self, name: str, on_failure: OnFailure) -> None:
        self.name = name
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._children: list[TaskScope] = []
        self._closing = False
        self._failed = False

    def start(self, work: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Runs ``work`` until it ends or the scope closes. Raises RuntimeError if the scope is closing or closed.

        An error that ``work`` raises is logged and handed to ``on_failure``, also when the caller awaits the task.
        Work that may fail in the ordinary course of things handles that failure itself.
        """
        if self._closing:
            work.close()
            raise RuntimeError(f"cannot start task {name!r}: scope {self.name!r} is closed")
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def report(self, name: str, error: BaseException) -> None:
        """Ends the component like a failed task would: for errors in callbacks, which have no task to fail."""
        self._report(f"{self.name}/{name}", error)

    def child(self, name: str) -> TaskScope:
        """A scope inside this one: it may close earlier, closes with it, and its failures are this scope's."""
        if self._closing:
            raise RuntimeError(f"cannot open scope {name!r}: scope {self.name!r} is closed")
        scope = TaskScope(f"{self.name}/{name}", self._fail)
        self._children.append(scope)
        return scope

    async def close(self) -> None:
        """Cancels every task and returns when all have ended. May be called again, and from a task of the scope
        itself, which then goes on and is the last. If the caller is cancelled meanwhile, the tasks are still awaited
        and the cancellation is raised afterwards.
        """
        self._closing = True
        interrupted: asyncio.CancelledError | None = None
        pending = self._others()
        for task in pending:
            task.cancel()
        while pending:
            try:
                _, late = await asyncio.wait(pending, timeout=_PATIENCE_SECONDS)
                if late:
                    names = sorted(task.get_name() for task in late)
                    _logger.warning("still waiting for cancelled tasks", extra={"fields": {"tasks": names}})
            except asyncio.CancelledError as error:
                interrupted = error
            pending = self._others()
        self._children.clear()
        if interrupted is not None:
            raise interrupted

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __len__(self) -> int:
        """How many tasks run now, in this scope and those inside it."""
        return len(self._tasks) + sum(len(child) for child in self._children)

    def _others(self) -> set[asyncio.Task[Any]]:
        """Tasks that still run here and below, except the one that asks; scopes below are closed to new tasks."""
        others = self._tasks - {asyncio.current_task()}
        for child in self._children:
            child._closing = True
            others |= child._others()
        return others

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._report(task.get_name(), error)

    def _report(self, name: str, error: BaseException) -> None:
        _logger.critical("task failed", exc_info=error, extra={"fields": {"task": name}})
        self._fail(name, error)

    def _fail(self, task_name: str, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            self._on_failure(task_name, error)
