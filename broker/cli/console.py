"""Where commands write: data to stdout, everything else to stderr, an error as one line that says what to do."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from broker.base.errors import (
    BrokerError,
    DeadlineExceeded,
    NodeNotFound,
    PurgeInProgress,
    QueueExists,
    QueueNotFound,
    Unavailable,
)

_HINTS: dict[type[BrokerError], str] = {
    QueueNotFound: "see what there is with `broker queue list`, make it with `broker queue create`",
    QueueExists: "see its attributes with `broker queue show`, change them with `broker queue update`",
    PurgeInProgress: "try again in a minute",
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
