"""Every test of this room runs on both event loops: they differ in how connections end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.integration.transport.warnings_of_nodes import Warned


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def warned() -> Iterator[Warned]:
    handler = Warned()
    logger = logging.getLogger("broker.transport")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
