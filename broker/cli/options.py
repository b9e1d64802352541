"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.base.errors import InvalidArgument
from broker.client.client import Client
from broker.client.model import Attribute, AttributeValue

Cluster = Annotated[
    str,
    typer.Option(
        "--cluster",
        "-c",
        envvar="BROKER_SERVERS",
        help="Client addresses of some of the nodes; the others are learned.",
        metavar="HOST:PORT,...",
    ),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds after which to give up.", min=0.1)]
QueueName = Annotated[str, typer.Argument(help="The queue's name.", metavar="NAME")]
VisibilityTimeout = Annotated[
    float | None,
    typer.Option(help="Seconds the received messages stay hidden: 0-43200.", show_default="the queue's"),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")]


def connect(cluster: str, timeout: float = 10.0) -> Client:
    """Raises InvalidArgument for a bad address."""
    return Client(cluster, timeout=timeout, patience=1.0)


def parse_attributes(texts: list[str]) -> dict[str, AttributeValue]:
    """From ``name=value`` or ``name:Type=value``. Raises InvalidArgument."""
    found: dict[str, AttributeValue] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        name, colon, kind = left.partition(":")
        if not equals or not name or (colon and not kind):
            raise InvalidArgument(f"attribute {text!r} must look like name=value or name:Number=12")
        found[name] = Attribute(kind or "String", value.encode())
    return found
