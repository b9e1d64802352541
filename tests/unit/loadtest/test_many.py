"""Reading single numbers from a node's metrics."""

from __future__ import annotations

import pytest

from loadtest.cluster import ClusterError
from loadtest.many import value_in

TEXT = """\
# HELP broker_engine_total What the replication engine has done, by kind.
# TYPE broker_engine_total counter
broker_engine_total{kind="turns"} 51234.0
broker_engine_total{kind="snapshots_written"} 12.0
"""


def test_a_series_has_its_value() -> None:
    assert value_in(TEXT, 'broker_engine_total{kind="snapshots_written"}') == 12.0


def test_a_series_that_is_not_there_is_named() -> None:
    with pytest.raises(ClusterError, match="snapshots_sent"):
        value_in(TEXT, 'broker_engine_total{kind="snapshots_sent"}')
