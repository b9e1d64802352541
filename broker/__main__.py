"""The command ``broker``. Loads only the modules of the command that was asked for, so that help comes at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from broker.cli.version import version


class _Command(NamedTuple):
    """``attribute`` of ``module`` is the command: a function, or a typer.Typer with commands of its own."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "dev": _Command("broker.cli.dev", "dev", "Start one node, with nothing to configure."),
    "cluster": _Command("broker.cli.cluster", "app", "Start a cluster on this machine; add, drain, replace its nodes."),
    "node": _Command("broker.cli.node", "node", "Run one node of a cluster, as a service does."),
    "queue": _Command("broker.cli.queue", "app", "Make, look at and use queues: create, list, send, receive, ..."),
    "access-key": _Command("broker.cli.access_key", "app", "Make and manage the keys that AWS clients sign with."),
    "status": _Command("broker.cli.status", "status", "Show nodes, zones, groups, leaders and lag."),
    "backup": _Command("broker.cli.backup", "backup", "Back the whole cluster up while it runs, to a directory."),
    "restore": _Command("broker.cli.restore", "restore", "Make a new cluster's nodes of a backup."),
    "check": _Command("broker.cli.check", "check_directory", "Verify the data directory of a node that does not run."),
    "handover": _Command("broker.cli.handover", "handover", "Have a node hand over its leaderships."),
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line for these arguments: the command they name is loaded, of the others only the help is there."""
    app = typer.Typer(
        name="broker",
        help="Threefold: queues that lose nothing, replicated over three zones, on your own nodes.\n\n"
        "[dim]broker cluster --zones 3[/dim]\n\n"
        "[dim]broker queue create orders[/dim]\n\n"
        "[dim]broker queue send orders 'one book'[/dim]\n\n"
        "[dim]broker queue receive orders[/dim]",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_broker)
    asked = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, command in COMMANDS.items():
        if name != asked:
            app.command(name, help=command.help)(_not_loaded)
            continue
        found = getattr(importlib.import_module(command.module), command.attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, help=command.help)
        else:
            app.command(name)(found)
    return app


def main() -> None:
    # gRPC's core writes a line to stderr for every connection that breaks; commands tell such things themselves.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    build(sys.argv[1:])()


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"threefold {version()}\n")
        raise typer.Exit


def _broker(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Comes before every command."""


def _not_loaded() -> None:
    raise AssertionError("a command that was not asked for cannot run")


if __name__ == "__main__":
    main()
