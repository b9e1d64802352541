"""A stranger cannot fill the log."""

from __future__ import annotations

import pytest

from broker.telemetry import logs
from broker.transport.complaints import Complaints


async def test_the_same_complaint_is_written_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logs.get("broker.test"))
    for _ in range(5):
        complaints.say("connection refused", "wrong-cluster", remote="10.0.0.9:1")
    complaints.say("connection refused", "newer-version", remote="10.0.0.9:1")
    complaints.close()
    assert [record.getMessage() for record in caplog.records] == ["connection refused"] * 2 + [
        "more complaints about connections, alike or too many"
    ]
    assert caplog.records[-1].fields["count"] == 4  # type: ignore[attr-defined]


async def test_different_complaints_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logs.get("broker.test"))
    for number in range(1_000):
        complaints.say("connection refused", f"malformed {number}", remote="10.0.0.9:1")
    complaints.close()
    assert len(caplog.records) == 65
