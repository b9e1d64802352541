"""Every example of docs/client.md runs as it stands, against the fake broker."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from random import Random

import pytest

from broker.client.client import Client
from tests.unit.client.fake_broker import running

PAGE = Path(__file__).resolve().parents[3] / "docs" / "client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
ADDRESSES = "127.0.0.1:4001,127.0.0.1:4002,127.0.0.1:4003"
RUN = "asyncio.run(main())"


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_example(example: str) -> None:
    async with running(3) as cluster, Client(cluster.addresses, timeout=5.0, chance=Random(1)) as client:
        # given a queue, unless the example makes it
        if RUN not in example:
            cluster.create("orders")
        program = example.replace(ADDRESSES, cluster.addresses).replace(RUN, "await main()")

        # when the example runs
        code = compile(program, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running_example = eval(code, {"client": client, "__name__": "example"})

        # then nothing is raised
        if inspect.isawaitable(running_example):
            await running_example
