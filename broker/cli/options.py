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
    float | None, typer.Option(help="Seconds a received message stays hidden: 0-43200.", show_default="30")
]
Delay = Annotated[float | None, typer.Option(help="Seconds until a sent message appears: 0-900.", show_default="0")]
Retention = Annotated[
    float | None, typer.Option(help="Seconds a message is kept: 60-1209600.", show_default="345600, four days")
]
MessageSizeLimit = Annotated[
    int | None, typer.Option(help="Largest message in bytes: 1024-1048576.", show_default="262144")
]
ReceiveWait = Annotated[
    float | None, typer.Option(help="Seconds a receive waits for a message: 0-20.", show_default="0")
]


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
