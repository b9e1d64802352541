"""Where commands write: data to stdout, everything else to stderr, an error as one line that says what to do."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from broker.base.errors import (
    AccessKeyNotFound,
    BrokerError,
    DeadlineExceeded,
    DeduplicationIdRequired,
    DifferentGroups,
    FixedAttribute,
    MessageGroupRequired,
    MoveTaskNotFound,
    MoveTaskNotRunning,
    MoveTaskRunning,
    NodeNotFound,
    NotDeadLetterQueue,
    NotScheduled,
    PurgeInProgress,
    QueueExists,
    QueueNotFound,
    RedriveNotAllowed,
    RedriveTargetInvalid,
    Unavailable,
)

_HINTS: dict[type[BrokerError], str] = {
    QueueNotFound: "see what there is with `broker queue list`, make it with `broker queue create`",
    QueueExists: "see its attributes with `broker queue show`, change them with `broker queue update`",
    PurgeInProgress: "try again in a minute",
    MessageGroupRequired: "name one with --group",
    DeduplicationIdRequired: "give --deduplication-id, or `broker queue update NAME --content-deduplication`",
    NotScheduled: "see what is scheduled with `broker queue browse NAME --state delayed`",
    DifferentGroups: "make one of them anew with `broker queue create NAME --beside OTHER`",
    FixedAttribute: "make another queue with `broker queue create`, and move the messages there",
    RedriveTargetInvalid: "name another queue of the same kind, or make it first with `broker queue create`",
    RedriveNotAllowed: "let it in with `broker queue update TARGET --takes-dead-letters-of NAME`",
    NotDeadLetterQueue: "say where to with --to QUEUE",
    MoveTaskRunning: "see it with `broker queue redrive list`, stop it with `broker queue redrive cancel`",
    MoveTaskNotFound: "see the moves of a queue with `broker queue redrive list`",
    MoveTaskNotRunning: "see the moves of a queue with `broker queue redrive list`",
    AccessKeyNotFound: "see what there is with `broker access-key list`",
    NodeNotFound: "see the nodes with `broker status`",
    Unavailable: "look at `broker status`; the same command may succeed in a moment",
    DeadlineExceeded: "look at `broker status`; the same command may succeed in a moment",
}


def out() -> Console:
    """For data that a person reads."""
    return Console(file=sys.stdout, highlight=False)


def err() -> Console:
    """For progress, notes and errors."""
    return Console(file=sys.stderr, highlight=False)


def note(text: str) -> None:
    err().print(text, style="dim", markup=False, soft_wrap=True)


def complain(message: str, hint: str = "") -> None:
    """One red line, and one that helps. ``message`` may hold anything: it is not read as markup."""
    line = Text.assemble(("error: ", "bold red"), (" ".join(message.split()), "red"))
    err().print(line, soft_wrap=True)
    if hint:
        err().print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def hint_for(error: BrokerError) -> str:
    """What to do about it, unless its message says so already."""
    if "make run" in str(error):
        return ""
    return next((_HINTS[kind] for kind in type(error).__mro__ if kind in _HINTS), "")
