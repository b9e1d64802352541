"""When a disk counts as too slow to lead, and when as well again."""

from __future__ import annotations

from broker.base.instants import Millis
from broker.replication.disk_watch import DiskWatch


class Syncing:
    """A disk that syncs now and then, looked at once a second."""

    def __init__(self) -> None:
        self.watch = DiskWatch()
        self.now = 1_000_000
        self.changes: list[tuple[int, bool]] = []
        """When the verdict changed, in milliseconds since the beginning."""

    def syncs(self, seconds: int, took: int, per_second: int = 4) -> None:
        for _ in range(seconds):
            for _ in range(per_second):
                self.watch.synced(Millis(took), Millis(self.now))
                self.now += 1_000 // per_second
            self.look()

    def rests(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1_000
            self.look()

    def look(self) -> None:
        if self.watch.judge(Millis(self.now)):
            self.changes.append((self.now - 1_000_000, self.watch.slow))


def test_a_fast_disk_is_never_slow() -> None:
    disk = Syncing()
    disk.syncs(60, took=8)
    assert disk.changes == []


def test_syncs_of_200_milliseconds_are_found_within_seconds() -> None:
    # given a disk that was fast, and busy
    disk = Syncing()
    disk.syncs(60, took=3, per_second=200)

    # when its syncs take long
    disk.syncs(8, took=200)

    # then it is slow, soon enough to hand over within ten seconds
    ((at, slow),) = disk.changes
    assert slow
    assert at <= 60_000 + 3_000
    assert disk.watch.typical == 200


def test_few_syncs_are_enough() -> None:
    # given a node that writes every two seconds
    disk = Syncing()
    for _ in range(4):
        disk.syncs(1, took=200, per_second=1)
        disk.rests(1)

    # then its slow disk is found
    assert disk.watch.slow


def test_single_slow_syncs_mean_nothing() -> None:
    # given a disk with a hiccup now and then
    disk = Syncing()
    for _ in range(20):
        disk.syncs(3, took=5)
        disk.watch.synced(Millis(900), Millis(disk.now))
        disk.look()

    # then nothing is said of it
    assert disk.changes == []


def test_a_sync_that_does_not_end_counts_while_it_lasts() -> None:
    # given a sync that hangs
    disk = Syncing()
    disk.syncs(10, took=5, per_second=1)
    disk.watch.writing(Millis(disk.now))

    # when it has lasted for some seconds
    disk.rests(8)

    # then the disk is slow before it ends
    assert disk.watch.slow


def test_a_process_that_was_stopped_for_long_does_not_blame_the_disk() -> None:
    # given a process that stands still in the midst of a sync
    disk = Syncing()
    disk.syncs(10, took=5)
    disk.watch.writing(Millis(disk.now))
    disk.now += 60_000
    disk.look()

    # when it goes on
    disk.syncs(20, took=5)

    # then the disk was not slow
    assert disk.changes == []


def test_a_disk_that_is_fast_again_leads_again_after_a_time() -> None:
    # given a slow disk
    disk = Syncing()
    disk.syncs(10, took=200)
    assert disk.watch.slow

    # when it is fast again
    begun = disk.now - 1_000_000
    disk.syncs(40, took=4)

    # then that is believed after it was shown for a while
    assert not disk.watch.slow
    assert 5_000 <= disk.changes[-1][0] - begun <= 20_000


def test_a_disk_between_fast_and_slow_keeps_its_verdict() -> None:
    # given a slow disk and a fast one
    slow, fast = Syncing(), Syncing()
    slow.syncs(10, took=200)
    fast.syncs(10, took=4)

    # when both take 80 ms
    slow.syncs(60, took=80)
    fast.syncs(60, took=80)

    # then each stays what it was
    assert slow.watch.slow
    assert not fast.watch.slow


def test_a_slow_disk_that_nobody_uses_may_show_again_what_it_can() -> None:
    # given a slow disk
    disk = Syncing()
    disk.syncs(10, took=200)

    # when nothing is written for minutes
    disk.rests(150)

    # then it is not held against it any more
    assert not disk.watch.slow
