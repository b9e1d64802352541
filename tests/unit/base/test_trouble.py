"""Standing conditions of a node."""

from __future__ import annotations

from broker.base.trouble import Trouble


def test_a_condition_stands_until_it_is_cleared() -> None:
    # given two conditions
    trouble = Trouble()
    assert trouble.set("disk-full", "the disk is full")
    assert trouble.set("damaged-group-5", "group 5 is damaged")

    # then they are told in the order of their names, and setting one again is no news unless it reads otherwise
    assert trouble.sentences == ("group 5 is damaged", "the disk is full")
    assert not trouble.set("disk-full", "the disk is full")
    assert trouble.set("disk-full", "the disk is full: 1 MiB left")

    # when one is cleared, then the other stands
    assert trouble.clear("disk-full")
    assert not trouble.clear("disk-full")
    assert trouble.names == ("damaged-group-5",)
