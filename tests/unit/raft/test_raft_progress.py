"""The window of one peer."""

from __future__ import annotations

from broker.base.ids import Index
from broker.base.instants import Millis
from broker.raft.progress import PeerState, Progress


def _streaming() -> Progress:
    progress = Progress(Index(5), Millis(0))
    progress.acknowledge(Index(4))
    progress.replicate()
    return progress


def test_a_probe_waits_for_its_answer_and_does_not_move_on() -> None:
    progress = Progress(Index(5), Millis(0))
    progress.sent(Index(7), 100)
    assert (progress.paused, progress.next, progress.inflight) == (True, 5, 0)


def test_a_stream_moves_on_and_acknowledgements_open_the_window() -> None:
    progress = _streaming()
    for last in (6, 8, 9):
        progress.sent(Index(last), 10)
    assert (progress.next, progress.inflight, progress.inflight_bytes) == (10, 3, 30)
    progress.acknowledge(Index(7))
    assert (progress.matched, progress.inflight, progress.inflight_bytes) == (7, 2, 20)
    progress.acknowledge(Index(9))
    assert (progress.next, progress.inflight, progress.inflight_bytes) == (10, 0, 0)


def test_probing_again_forgets_what_was_in_flight_but_not_what_is_known() -> None:
    progress = _streaming()
    progress.sent(Index(9), 10)
    progress.probe(Index(2))
    assert (progress.state, progress.next, progress.inflight_bytes) == (PeerState.PROBE, 5, 0)


def test_the_view_tells_whether_the_peer_was_heard_lately() -> None:
    progress = _streaming()
    progress.heard_at = Millis(100)
    assert progress.view(Millis(1300), Millis(1200)).recently_active
    assert not progress.view(Millis(1301), Millis(1200)).recently_active
