"""Logs: one line per event, with named fields, on standard error; the standard library's ``logging`` underneath.

``get(__name__).info("peer connected", peer="b-0")`` says what happened in constant words and gives the particulars as
fields, so that lines can be searched and counted. On a terminal a line is made for eyes; elsewhere for machines.
Fields whose names speak of secrets are not written. This room must not know what the product does.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec

Format = Literal["auto", "human", "json", "logfmt"]
Level = Literal["debug", "info", "warning", "error"]

_SECRET = re.compile(
    r"password|passphrase|secret|token|authorization|credential|private_?key|access_?key|signature", re.IGNORECASE
)
_REDACTED = "[redacted]"
_NEEDS_QUOTES = re.compile(r'[\s"=\x00-\x1f\x7f]|^$')


class LogSettings(msgspec.Struct, frozen=True):
    """``format`` auto is human on a terminal and json elsewhere."""

    level: Level = "info"
    format: Format = "auto"


class Log:
    """What a module writes its events with. ``bind`` gives one that adds the same fields to every line."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: Mapping[str, object]) -> None:
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: object) -> Log:
        return Log(self._logger, {**self._fields, **fields})

    def debug(self, event: str, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields, None)

    def info(self, event: str, **fields: object) -> None:
        self._write(logging.INFO, event, fields, None)

    def warning(self, event: str, **fields: object) -> None:
        self._write(logging.WARNING, event, fields, None)

    def error(self, event: str, **fields: object) -> None:
        self._write(logging.ERROR, event, fields, None)

    def failure(self, event: str, cause: BaseException, **fields: object) -> None:
        """An error with its traceback."""
        self._write(logging.ERROR, event, fields, cause)

    def _write(self, level: int, event: str, fields: Mapping[str, object], cause: BaseException | None) -> None:
        if self._logger.isEnabledFor(level):
            # The event is an argument, not the format, lest a percent sign in it be taken for a directive.
            self._logger.log(level, "%s", event, exc_info=cause, extra={"fields": {**self._fields, **fields}})


def get(name: str) -> Log:
    """The log of a module: ``get(__name__)``."""
    return Log(logging.getLogger(name), {})


def configure(settings: LogSettings, *, node: str | None = None, stream: TextIO | None = None) -> None:
    """Sends all logs of the process to ``stream`` (standard error), each line with the node's id if it has one.

    Replaces what was configured before. Call once, at start.
    """
    target = sys.stderr if stream is None else stream
    shape = settings.format
    if shape == "auto":
        shape = "human" if target.isatty() else "json"
    handler = logging.StreamHandler(target)
    handler.setFormatter(_FORMATTERS[shape](node))
    logging.basicConfig(handlers=[handler], level=settings.level.upper(), force=True)


class _Lines(logging.Formatter):
    """Common to all formats: what a record holds, secrets taken out."""

    def __init__(self, node: str | None) -> None:
        super().__init__()
        self._bound: dict[str, object] = {} if node is None else {"node": node}

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        given: Mapping[str, object] = getattr(record, "fields", {})
        return {name: _REDACTED if _SECRET.search(name) else value for name, value in {**self._bound, **given}.items()}

    def _row(self, record: logging.LogRecord) -> dict[str, object]:
        instant = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        row: dict[str, object] = {
            "time": instant.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for name, value in self._fields(record).items():
            row[f"{name}_" if name in row else name] = value
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return row


class _Json(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self._row(record), enc_hook=str).decode()


class _Logfmt(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{name}={_plain(value)}" for name, value in self._row(record).items())


class _Human(_Lines):
    """Local time, event, fields; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        instant = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        words = [f"{instant} {record.levelname.lower():8} {_one_line(record.getMessage())}"]
        words += [f"{name}={_plain(value)}" for name, value in self._fields(record).items()]
        line = " ".join(words)
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


_FORMATTERS: dict[str, type[_Lines]] = {"human": _Human, "json": _Json, "logfmt": _Logfmt}


def _one_line(text: str) -> str:
    """Bytes from a stranger must not be able to forge a second line or drive a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _plain(value: object) -> str:
    text = str(value)
    if _NEEDS_QUOTES.search(text) or not text.isprintable():
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{_one_line(quoted)}"'
    return text
