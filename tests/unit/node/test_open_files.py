import resource

import pytest

from broker.node.open_files import RESERVED, client_connections, raise_limit


def test_the_limit_is_raised_as_far_as_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] // 2, before[1]))
        assert raise_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_enough_files_are_enough_clients(caplog: pytest.LogCaptureFixture) -> None:
    assert client_connections(10_000, 10_000 + RESERVED) == 10_000
    assert not caplog.records


def test_too_few_files_are_said_with_what_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    assert client_connections(10_000, 6_000) == 5_000
    assert client_connections(10_000, 1_024) == 512
    assert "ulimit -n" in caplog.text
