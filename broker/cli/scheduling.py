"""`broker queue schedule` and `cancel`: messages that appear at an instant, and withdrawing them before it."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.aio.system_clock import SystemClock
from broker.base.errors import BrokerError, InvalidArgument
from broker.base.ids import MessageId
from broker.cli import sending
from broker.cli.console import complain, hint_for, note
from broker.cli.instants import local_time
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import Cluster, QueueName, Timeout, connect
from broker.cli.running import FAILED, run
from broker.cli.sending import AttributeTexts, MessageGroup, TimeToLive


def schedule(
    name: QueueName,
    when: Annotated[
        str,
        typer.Argument(metavar="WHEN", help="+10m, +1h30m, 2026-05-01T09:00 (your time), ...Z, or seconds since 1970."),
    ],
    bodies: Annotated[list[str], typer.Argument(help="Messages to send.", metavar="BODY...")],
    group: MessageGroup = None,
    ttl: TimeToLive = None,
    attribute: AttributeTexts = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 30.0,
) -> None:
    """Send messages that appear at an instant, at most the queue's retention ahead. Prints their ids.

    Standard queues only: a FIFO queue delays all its messages alike, with its --delay.

    [dim]broker queue schedule mails +10m "remind Ada"[/dim]
    [dim]broker queue schedule mails 2026-05-01T09:00 "good morning"[/dim]
    [dim]id=$(broker queue schedule mails +1h "never mind") && broker queue cancel mails $id[/dim]
    """

    async def work() -> None:
        options = sending.options_of(attribute, group, None, when, "WHEN", ttl, SystemClock())
        async with connect(cluster, timeout) as client:
            await sending.send_arguments(client, name, bodies, options, None)
        due = options.get("deliver_at")
        assert isinstance(due, float)
        note(f"due {local_time(due)}; withdraw with `broker queue cancel {name} ID`")

    run(work)


def cancel(
    name: QueueName,
    ids: Annotated[list[str], typer.Argument(help="Ids as sending printed them.", metavar="ID...")],
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Withdraw scheduled messages that are not due yet.

    [dim]broker queue cancel mails 00000003-0000-0000-0000-01a400000000[/dim]
    [dim]broker queue browse mails --state delayed --json | jq -r .id | xargs broker queue cancel mails[/dim]
    """

    async def work() -> int:
        found = [_parsed(text) for text in ids]
        outcomes: list[BrokerError | None] = []
        async with connect(cluster, timeout) as client:
            for start in range(0, len(found), _BATCH):
                outcomes += await client.cancel_scheduled(name, found[start : start + _BATCH])
        refused = [outcome for outcome in outcomes if outcome is not None]
        for text, outcome in zip(ids, outcomes, strict=True):
            if outcome is not None:
                complain(f"{text}: {outcome}")
        if refused:
            complain(f"{len(refused):,} of {len(outcomes):,} messages were not withdrawn", hint_for(refused[0]))
            return FAILED
        note(f"{len(outcomes):,} scheduled " + ("message" if len(outcomes) == 1 else "messages") + " withdrawn")
        return 0

    run(work)


_BATCH = 1_000


def _parsed(text: str) -> MessageId:
    try:
        return MessageId.parse(text)
    except ValueError:
        raise InvalidArgument(
            f"{text!r} is no message id; `broker queue browse NAME --state delayed` shows those of scheduled messages"
        ) from None
