"""`broker access-key ...`: make, list, disable, enable and delete the keys that clients of the AWS port sign with."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from broker.cli.console import note, out
from broker.cli.instants import local_time
from broker.cli.layout import DEFAULT_CLUSTER
from broker.cli.options import AsJson, Cluster, Timeout, connect
from broker.cli.running import run
from broker.client.access_keys import AccessKey, NewAccessKey

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

KeyId = Annotated[str, typer.Argument(help="The key's id, as `broker access-key list` shows it.", metavar="ID")]


@app.command()
def create(
    account: Annotated[
        str, typer.Option("--account", help="Whose queues it reaches: 12 digits.", metavar="123456789012")
    ],
    user: Annotated[
        str,
        typer.Option(
            "--user",
            help="A name within the account, for policies and logs.",
            metavar="NAME",
            show_default="the account's root",
        ),
    ] = "",
    as_json: AsJson = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Make a key. Its secret is shown now and never again.

    The lines it writes are for a shell: `eval` sets the key for all AWS tools that are started there.

    [dim]broker access-key create --account 123456789012[/dim]
    [dim]broker access-key create --account 123456789012 --user shop > shop.env[/dim]
    [dim]eval "$(broker access-key create --account 123456789012)"; aws sqs list-queues[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            made = await client.create_access_key(account, user)
        note(f"access key {made.key.id} of {_owner(made.key)}; the secret below is not shown again")
        sys.stdout.write(_json(made) if as_json else _for_a_shell(made))

    run(work)


@app.command("list")
def list_keys(
    account: Annotated[
        str, typer.Option("--account", help="Only keys of this account.", metavar="123456789012", show_default="all")
    ] = "",
    as_json: AsJson = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Show the keys, without their secrets.

    [dim]broker access-key list[/dim]
    [dim]broker access-key list --json | jq -r '.[] | select(.active | not) | .id'[/dim]
    """

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            found = await client.list_access_keys(account)
        if as_json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        elif found:
            out().print(_table(found))
        else:
            note("no access keys; make one with `broker access-key create --account 123456789012`")

    run(work)


@app.command()
def disable(key: KeyId, cluster: Cluster = DEFAULT_CLUSTER, timeout: Timeout = 10.0) -> None:
    """Refuse whatever is signed with this key, on every node within five seconds. It stays, and can be enabled again.

    [dim]broker access-key disable AKIAQWERTYUIOPASDFGH[/dim]
    """
    _set_active(key, False, cluster, timeout)


@app.command()
def enable(key: KeyId, cluster: Cluster = DEFAULT_CLUSTER, timeout: Timeout = 10.0) -> None:
    """Accept a disabled key again.

    [dim]broker access-key enable AKIAQWERTYUIOPASDFGH[/dim]
    """
    _set_active(key, True, cluster, timeout)


@app.command()
def delete(
    key: KeyId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cluster: Cluster = DEFAULT_CLUSTER,
    timeout: Timeout = 10.0,
) -> None:
    """Remove a key for good. To see first who still uses it, disable it for a while.

    [dim]broker access-key delete AKIAQWERTYUIOPASDFGH --yes[/dim]
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Remove access key {key} for good?", abort=True, err=True)
    elif not yes:
        raise typer.BadParameter("a deleted key does not come back; add --yes to do it without being asked")

    async def work() -> None:
        async with connect(cluster, timeout) as client:
            gone = await client.delete_access_key(key)
        note(f"access key {gone.id} of {_owner(gone)} deleted")

    run(work)


def _set_active(key: str, active: bool, cluster: str, timeout: float) -> None:
    async def work() -> None:
        async with connect(cluster, timeout) as client:
            now = await client.set_access_key_active(key, active)
        note(f"access key {now.id} of {_owner(now)} is {_status(now)}, on every node within five seconds")

    run(work)


def _for_a_shell(made: NewAccessKey) -> str:
    return f"export AWS_ACCESS_KEY_ID={made.key.id}\nexport AWS_SECRET_ACCESS_KEY={made.secret}\n"


def _json(made: NewAccessKey) -> str:
    return msgspec.json.encode({**msgspec.to_builtins(made.key), "secret": made.secret}).decode() + "\n"


def _table(keys: list[AccessKey]) -> Table:
    table = Table("access key", "account", "user", "created", "status", box=None, header_style="bold", pad_edge=False)
    for key in keys:
        table.add_row(
            key.id, key.account, key.user or "(root)", local_time(key.created_at), _status(key), style=_style(key)
        )
    return table


def _style(key: AccessKey) -> str:
    return "" if key.active else "dim"


def _status(key: AccessKey) -> str:
    return "active" if key.active else "disabled"


def _owner(key: AccessKey) -> str:
    return f"account {key.account}" + (f", user {key.user}" if key.user else "")
