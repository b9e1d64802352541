from broker.base.ids import QueueId
from broker.base.instants import WallMillis
from broker.services import dwell
from broker.services.dwell import DwellTimes
from broker.telemetry.metrics import Registry


def told(registry: Registry) -> dict[str, int]:
    """Queues whose times are told, and how many of each."""
    [series] = registry.copy()
    return {labels[0]: sum(counts) for labels, _, counts, _ in series.buckets}


def test_what_is_handed_out_is_counted_by_queue() -> None:
    registry = Registry()
    times = DwellTimes(registry)
    times.introduce(QueueId(1), "orders")
    times.handed_out(QueueId(1), [WallMillis(5), WallMillis(9)], WallMillis(10))
    assert told(registry) == {"orders": 2}
    assert (times.known(QueueId(1)), times.known(QueueId(2))) == (True, False)


def test_queues_that_come_and_go_do_not_pile_up() -> None:
    registry = Registry()
    times = DwellTimes(registry)
    for number in range(dwell.MAX_QUEUES + 3):
        times.introduce(QueueId(number), f"q{number}")
    assert not times.known(QueueId(2))
    assert times.known(QueueId(3))
    assert len(told(registry)) == dwell.MAX_QUEUES
    times.introduce(QueueId(0), "q0")
    times.handed_out(QueueId(0), [WallMillis(1)], WallMillis(2))
    assert told(registry)["q0"] == 1
