"""Sends make way before anything is spent on them."""

from __future__ import annotations

import pytest

from broker.base.errors import Overloaded
from broker.base.instants import Millis
from broker.edge.grpc.send_gate import MANY, SendGate
from broker.services.admission import Admission, AdmissionSettings


class Queues:
    """What of the queue service decides, over a real admission."""

    def __init__(self) -> None:
        self.now = Millis(1_000)
        self.admission = Admission(AdmissionSettings())

    @property
    def send_target(self) -> Millis:
        return self.admission.send_target

    def check_sends(self) -> None:
        self.admission.check_sends(self.now)

    def calls_wait(self, waited: Millis) -> None:
        self.admission.late(waited, self.now)


def busy(queues: Queues) -> SendGate:
    gate = SendGate(queues)
    for _ in range(MANY):
        gate.begin(Millis(0))
    return gate


def test_a_send_that_has_waited_for_longer_than_it_may_take_is_refused_and_so_is_what_comes_after_it() -> None:
    queues = Queues()
    gate = busy(queues)
    with pytest.raises(Overloaded, match="calls wait for 300 ms"):
        gate.begin(Millis(300))
    with pytest.raises(Overloaded):
        gate.look()

    # a moment later the next one is let in
    queues.now = Millis(queues.now + 300)
    gate.look()
    gate.begin(Millis(0))


def test_one_that_has_waited_for_half_of_it_goes_on_and_fewer_follow() -> None:
    queues = Queues()
    gate = busy(queues)
    admitted = queues.admission.enter_send(1_000, 1, "group", queues.now)
    before = admitted.window.size
    gate.begin(Millis(130))
    gate.look()
    assert admitted.window.size < before


def test_where_there_is_little_to_do_a_pause_of_the_node_refuses_nobody() -> None:
    queues = Queues()
    gate = busy(queues)
    gate.end()
    gate.end()
    gate.begin(Millis(5_000))
    gate.look()

    # nor does one that the watch over the door has seen
    queues.calls_wait(Millis(5_000))
    gate.look()
    gate.begin(Millis(0))
    with pytest.raises(Overloaded):
        gate.look()
