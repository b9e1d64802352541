import pytest

from broker.base.errors import Overloaded
from broker.base.instants import Millis
from broker.services.admission import Admission, AdmissionSettings
from broker.services.shedding import WindowSettings
from broker.telemetry.metrics import Registry

NOW = Millis(1_000)


def test_sends_leave_a_part_of_the_room_to_what_relieves() -> None:
    admission = Admission(AdmissionSettings(requests=16))
    for _ in range(14):
        admission.enter_send(1, 1, "group", NOW)
    with pytest.raises(Overloaded, match="works on 14 requests, its limit is 14"):
        admission.enter_send(1, 1, "group", NOW)
    admission.enter(0)
    admission.enter(0)
    with pytest.raises(Overloaded, match="works on 16 requests, its limit is 16"):
        admission.enter(0)
    assert admission.refused == {"requests": 2, "bytes": 0, "polls": 0, "time": 0, "wait": 0}


def test_bytes_are_bounded_over_all_groups() -> None:
    admission = Admission(AdmissionSettings(size=100))
    first = admission.enter_send(80, 1, "one", NOW)
    with pytest.raises(Overloaded, match="80 bytes of messages in flight, 30 more would pass its limit of 100"):
        admission.enter_send(30, 1, "two", NOW)
    admission.leave_send(first, NOW, stored=True)
    admission.enter_send(1_000, 1, "two", NOW)
    assert admission.refused["bytes"] == 1


def test_sends_to_a_slow_group_are_refused_and_those_to_others_are_not() -> None:
    window = WindowSettings(target=Millis(100), first=30_000, least=1_000, most=100_000)
    admission = Admission(AdmissionSettings(window=window))
    late = [admission.enter_send(1_000, 1, "slow", NOW) for _ in range(3)]
    for each in late:
        admission.leave_send(each, Millis(NOW + 500), stored=True)
    later = Millis(NOW + 600)
    admission.enter_send(1_000, 1, "slow", later)
    with pytest.raises(Overloaded, match="would take longer than 100 ms: 6120 bytes are on their way, 3672 get done"):
        admission.enter_send(1_000, 1, "slow", later)
    for _ in range(3):
        admission.enter_send(1_000, 1, "fast", later)
    admission.enter(0)
    assert admission.refused == {"requests": 0, "bytes": 0, "polls": 0, "time": 1, "wait": 0}
    assert (admission.requests, admission.size) == (5, 4_000)


def test_a_refused_send_leaves_nothing_behind() -> None:
    admission = Admission(AdmissionSettings(size=10, window=WindowSettings(first=1, least=1, most=1)))
    first = admission.enter_send(5, 1, "group", NOW)
    with pytest.raises(Overloaded):
        admission.enter_send(5, 1, "group", NOW)
    admission.leave_send(first, NOW, stored=False)
    assert (admission.requests, admission.size) == (0, 0)
    assert first.window.on_its_way == 0


def test_long_polls_are_counted_by_themselves() -> None:
    admission = Admission(AdmissionSettings(requests=2, polls=3))
    for _ in range(3):
        admission.enter_receive(waits=True)
    with pytest.raises(Overloaded, match="3 long polls are open on this node, its limit"):
        admission.enter_receive(waits=True)
    admission.enter_receive(waits=False)
    admission.enter_send(1, 1, "group", NOW)
    admission.leave_receive(waits=True)
    admission.enter_receive(waits=True)
    assert (admission.requests, admission.polls) == (2, 3)


def test_while_calls_wait_before_the_node_sends_are_not_even_begun_for_a_moment() -> None:
    admission = Admission(AdmissionSettings())
    admission.late(Millis(200), NOW)
    admission.check_sends(NOW)
    admission.late(Millis(400), NOW)
    with pytest.raises(Overloaded, match="calls wait for 400 ms before this node can begin them"):
        admission.check_sends(Millis(NOW + 100))
    admission.enter_receive(waits=False)
    admission.check_sends(Millis(NOW + 400))
    assert admission.refused["wait"] == 1


def test_what_a_send_waited_before_it_came_counts_for_how_long_it_took() -> None:
    admission = Admission(AdmissionSettings())
    admission.leave_send(admission.enter_send(1_000, 1, "group", NOW), NOW, stored=True)  # the group is known
    admission.late(Millis(150), NOW)
    later = Millis(NOW + 1_000)
    admitted = admission.enter_send(1_000, 1, "group", later)
    size = admitted.window.size
    admission.leave_send(admitted, Millis(later + 99), stored=True)
    assert admitted.window.size == size
    admission.leave_send(admission.enter_send(1_000, 1, "group", later), Millis(later + 101), stored=True)
    assert admitted.window.size < size

    # and no longer, once calls do not wait
    admission.at_ease()
    last = Millis(NOW + 3_000)
    size = admitted.window.size
    admission.leave_send(admission.enter_send(1_000, 1, "group", last), Millis(last + 101), stored=True)
    assert admitted.window.size >= size


def test_when_calls_do_not_wait_any_more_sends_are_begun_at_once() -> None:
    admission = Admission(AdmissionSettings())
    admission.late(Millis(400), NOW)
    admission.at_ease()
    admission.check_sends(NOW)
    assert admission.refused["wait"] == 0


async def test_what_was_refused_is_told_by_the_limit_that_was_reached() -> None:
    registry = Registry()
    admission = Admission(AdmissionSettings(requests=1), registry)
    admission.enter(0)
    with pytest.raises(Overloaded):
        admission.enter(0)
    series = {each.name: dict(each.values) for each in registry.copy()}
    others = {("bytes",): 0, ("polls",): 0, ("time",): 0, ("wait",): 0}
    assert series["broker_admission_refused"] == {("requests",): 1, **others}
    assert series["broker_admission_held"] == {("requests",): 1, ("bytes",): 0, ("polls",): 0}
