"""The options that make a queue what it is, shared by `create` and `update`, and how their values are read."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from broker.base.errors import InvalidArgument
from broker.client.model import Per, QueueOptions, RedriveAllowPolicy, RedrivePolicy

DEFAULT_MAX_RECEIVES = 5


class PerChoice(StrEnum):
    """Of what something counts."""

    QUEUE = "queue"
    MESSAGE_GROUP = "message-group"

    @property
    def word(self) -> Per:
        return "queue" if self is PerChoice.QUEUE else "message_group"


_FIFO = "FIFO queues"
_DEAD = "Dead letters"

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
Stripes = Annotated[
    int | None,
    typer.Option(
        help="Over how many groups of the cluster the queue is spread, for more throughput: 1-64.", show_default="1"
    ),
]
ContentDeduplication = Annotated[
    bool | None,
    typer.Option(
        "--content-deduplication/--no-content-deduplication",
        help="A message without a deduplication id is known by its body's SHA-256.",
        show_default="no",
        rich_help_panel=_FIFO,
    ),
]
DeduplicationScope = Annotated[
    PerChoice | None,
    typer.Option(
        help="Among which messages a deduplication id works once in 5 minutes.",
        show_default="queue",
        rich_help_panel=_FIFO,
    ),
]
HighThroughput = Annotated[
    bool | None,
    typer.Option(
        "--high-throughput/--no-high-throughput",
        help="Order, deduplication and throughput per message group; a new queue is spread over 4 groups.",
        show_default="no",
        rich_help_panel=_FIFO,
    ),
]
DeadLetters = Annotated[
    str | None,
    typer.Option(metavar="QUEUE", help="Where messages go that were received too often.", rich_help_panel=_DEAD),
]
MaxReceives = Annotated[
    int | None,
    typer.Option(
        help="How often a message is received before it goes there: 1-1000.",
        show_default=str(DEFAULT_MAX_RECEIVES),
        rich_help_panel=_DEAD,
    ),
]
TakesDeadLettersOf = Annotated[
    str | None,
    typer.Option(
        metavar="all|none|QUEUE,...",
        help="Whose dead letters this queue takes; at most 10 names.",
        show_default="all",
        rich_help_panel=_DEAD,
    ),
]


def plain_options(
    visibility_timeout: float | None,
    delay: float | None,
    retention: float | None,
    message_size_limit: int | None,
    receive_wait: float | None,
    stripes: int | None,
) -> QueueOptions:
    """What was given of the attributes that every queue has."""
    return QueueOptions(
        visibility_timeout=visibility_timeout,
        delay=delay,
        retention=retention,
        message_size_limit=message_size_limit,
        receive_wait=receive_wait,
        stripes=stripes,
    )


def fifo_options(
    content_deduplication: bool | None, scope: PerChoice | None, high_throughput: bool | None
) -> QueueOptions:
    """Raises InvalidArgument when they contradict one another."""
    if high_throughput and scope is PerChoice.QUEUE:
        raise InvalidArgument(
            "--high-throughput needs --deduplication-scope message-group, which it sets by itself; leave the scope out"
        )
    options = QueueOptions(
        content_deduplication=content_deduplication, deduplication_scope=None if scope is None else scope.word
    )
    if high_throughput is not None:
        options["throughput_limit"] = "message_group" if high_throughput else "queue"
        if high_throughput:
            options["deduplication_scope"] = "message_group"
    return options


def redrive_policy(
    dead_letters: str | None, max_receives: int | None, before: RedrivePolicy | None = None
) -> RedrivePolicy | None:
    """``before``: the queue's present policy, of which the half that was not given is taken. Raises InvalidArgument."""
    if dead_letters is None and max_receives is None:
        return None
    target = dead_letters or (before.target if before else None)
    if target is None:
        raise InvalidArgument("--max-receives needs a queue to move messages to; give --dead-letters QUEUE, too")
    return RedrivePolicy(target, max_receives or (before.max_receive_count if before else DEFAULT_MAX_RECEIVES))


def redrive_allow_policy(text: str | None) -> RedriveAllowPolicy | None:
    """From ``all``, ``none`` or names of queues."""
    match text:
        case None:
            return None
        case "all":
            return RedriveAllowPolicy("allow_all")
        case "none":
            return RedriveAllowPolicy("deny_all")
        case _:
            return RedriveAllowPolicy("by_queue", tuple(name.strip() for name in text.split(",") if name.strip()))


def is_empty(options: QueueOptions) -> bool:
    """Whether nothing is to be changed."""
    return all(value is None for value in options.values())
