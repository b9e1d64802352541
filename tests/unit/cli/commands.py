"""Runs a command as a user would, against a fake broker or none."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from broker.__main__ import build


def broker(*arguments: str, columns: int = 120) -> Result:
    return CliRunner().invoke(build(arguments), arguments, env={"COLUMNS": str(columns), "TZ": "UTC"})
