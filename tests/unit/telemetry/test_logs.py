"""Each event is one line with its fields; nothing a stranger sends can forge a line, no secret is written."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from broker.telemetry import logs
from broker.telemetry.logs import LogSettings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_carry_node_event_and_fields() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), node="a-0", stream=stream)
    logs.get("broker.test").info("peer connected", peer="b-0", attempts=3)
    [line] = stream.getvalue().splitlines()
    row = json.loads(line)
    assert row.pop("time").endswith("Z")
    assert row == {
        "level": "info",
        "logger": "broker.test",
        "event": "peer connected",
        "node": "a-0",
        "peer": "b-0",
        "attempts": 3,
    }


def test_logfmt_quotes_what_needs_it() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="logfmt"), stream=stream)
    logs.get("broker.test").warning("disk slow", path="a b", empty="", plain=1)
    [line] = stream.getvalue().splitlines()
    assert line.endswith('level=warning logger=broker.test event="disk slow" path="a b" empty="" plain=1')


@pytest.mark.parametrize(("stream", "is_json"), [(Terminal(), False), (io.StringIO(), True)])
def test_auto_is_for_eyes_on_a_terminal_and_json_elsewhere(stream: io.StringIO, is_json: bool) -> None:
    logs.configure(LogSettings(), node="a-0", stream=stream)
    logs.get("broker.test").info("ready", port=7)
    assert stream.getvalue().startswith("{") is is_json
    assert is_json or stream.getvalue().endswith("info     ready node=a-0 port=7\n")


@pytest.mark.parametrize("form", ["human", "json", "logfmt"])
def test_a_value_cannot_start_a_second_line_nor_drive_the_terminal(form: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format=form), stream=stream)
    logs.get("broker.test").info("refused\nforged", node="evil\n\x1b[31mforged \u2028 line")
    assert len(stream.getvalue().splitlines()) == 1 or form == "json"
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("form", ["human", "json", "logfmt"])
def test_fields_that_speak_of_secrets_are_not_written(form: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format=form), stream=stream)
    logs.get("broker.test").info("configured", session_token="s3cr3t", private_key="s3cr3t", Authorization="s3cr3t")
    assert "s3cr3t" not in stream.getvalue()
    assert stream.getvalue().count("[redacted]") == 3


def test_bound_fields_come_with_every_line_and_can_be_overridden() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="logfmt"), stream=stream)
    log = logs.get("broker.test").bind(peer="b-0", port=1)
    log.info("one")
    log.error("two", port=2)
    one, two = stream.getvalue().splitlines()
    assert one.endswith("event=one peer=b-0 port=1")
    assert two.endswith("event=two peer=b-0 port=2")


def test_a_field_named_like_a_standard_one_does_not_hide_it() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream=stream)
    logs.get("broker.test").info("moved", level="high")
    row = json.loads(stream.getvalue())
    assert (row["level"], row["level_"]) == ("info", "high")


def test_levels_below_the_setting_are_not_written() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(level="warning"), stream=stream)
    logs.get("broker.test").info("quiet")
    logs.get("broker.test").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_a_failure_carries_its_traceback_in_the_same_line() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="logfmt"), stream=stream)
    try:
        raise ValueError("broken")
    except ValueError as error:
        logs.get("broker.test").failure("page failed", error, path="/metrics")
    [line] = stream.getvalue().splitlines()
    assert "path=/metrics" in line
    assert "ValueError: broken" in line


def test_lines_of_plain_logging_are_shaped_too() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), node="a-0", stream=stream)
    logging.getLogger("asyncio").error("100%% of %s", "it")
    row = json.loads(stream.getvalue())
    assert (row["event"], row["node"]) == ("100% of it", "a-0")
