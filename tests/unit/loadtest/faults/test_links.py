"""What lies between places: a cut is two ways, and half of one is a cut too."""

from __future__ import annotations

from loadtest.faults.links import ALL_SOUND, CLIENTS, CUT, SOUND, Link, Links, between_zones, cut_off, deaf, mute
from loadtest.faults.router import parse
from loadtest.faults.zones import ZONES


def cut_ways(links: Links) -> set[tuple[str, str]]:
    places = [*ZONES, CLIENTS]
    return {(one, other) for one in places for other in places if links.way(one, other).cut}


def test_without_a_word_every_way_is_sound() -> None:
    assert cut_ways(ALL_SOUND) == set()
    assert ALL_SOUND.way("a", "b") == SOUND


def test_distance_is_between_zones_and_not_within_them_or_to_clients() -> None:
    far = Link(delay=20)
    links = between_zones(ZONES, far)
    assert links.way("a", "c") == links.way("c", "a") == far
    assert links.way("a", "a") == links.way("a", CLIENTS) == links.way(CLIENTS, "b") == SOUND


def test_a_zone_is_cut_off_both_ways_from_those_named() -> None:
    assert cut_ways(cut_off("a", ["b", "c"])) == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}


def test_a_mute_zone_hears_and_a_deaf_one_speaks() -> None:
    assert cut_ways(mute("a", ["b"])) == {("a", "b")}
    assert cut_ways(deaf("a", ["b"])) == {("b", "a")}
    assert deaf("a", ["b"]).way("b", "a") == CUT


def test_an_end_is_a_handle_an_address_and_a_place() -> None:
    assert parse("7:198.18.77.10:a") == (7, bytes([198, 18, 77, 10]), "a")
