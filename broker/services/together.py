"""Several calls at once, none left running when one fails.

This room must not know what is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def all_of(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Their results in order, when all have ended. Raises what the first of them raised; none may return an exception.
    They start in order."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    found: list[Result] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
