"""The picture of a queue: amounts, ages, groups, where dead letters go, and warnings with what to do."""

from __future__ import annotations

from msgspec.structs import replace
from rich.console import Console

from broker.cli.bars import bar, stacked
from broker.cli.picture import Seen, picture_of
from broker.client.model import (
    Census,
    MessageGroup,
    Move,
    QueueAttributes,
    QueueCounts,
    QueueDescription,
    RedriveAllowPolicy,
    RedrivePolicy,
)

NOW = 1_700_000_000.0
COUNTS = QueueCounts(1_200, 300, 40, 125.0, 5_000, 4_000, 3_460, 0, message_groups=12, duplicates_total=3)
CENSUS = Census(
    (1.0, 60.0, 3_600.0),
    {"visible": (0, 1_000, 200, 0), "in_flight": (300, 0, 0, 0), "delayed": (40, 0, 0, 0)},
    (MessageGroup("tenant-1", 900, 30), MessageGroup("tenant-2", 100, 0)),
    NOW,
)


def seen(name: str = "orders", **changes: object) -> Seen:
    queue = QueueDescription(name, QueueAttributes(), COUNTS, 0.0, 0.0, 3, "b-0", (3,))
    return Seen(replace(queue, **changes), CENSUS, [], [])


def drawn(found: Seen, width: int = 100) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(picture_of(found))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def line_with(text: str, what: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(what)]
    return line


def test_amounts_are_bars_of_one_measure() -> None:
    text = drawn(seen())
    assert text.startswith("orders   standard queue, group 3, led by b-0")
    assert line_with(text, "visible").split() == ["visible", "1,200", "█" * 36]
    assert line_with(text, "in flight").split() == ["in", "flight", "300", "█" * 9]
    assert line_with(text, "delayed").split() == ["delayed", "40", "█▎"]
    assert "moving" not in text


def test_ages_are_a_histogram_up_to_the_oldest() -> None:
    text = drawn(seen())
    assert "█ visible ▓ in flight ░ delayed oldest 2 min 5 s" in line_with(text, "age")
    assert line_with(text, "up to 1 s").endswith("340  ▓▓▓▓▓▓▓▓▓▓▓░")
    assert line_with(text, "up to 1 min").endswith("1,000  " + "█" * 36)
    assert "up to 1 h" in text
    assert "over 1 h" not in text


def test_the_largest_groups_are_named_and_their_number_told() -> None:
    text = drawn(seen())
    assert line_with(text, "of 12 groups")
    assert line_with(text, "tenant-1").split() == ["tenant-1", "900", "█" * 35 + "▓", "30"]


def test_dead_letters_are_followed_from_source_to_target() -> None:
    found = seen(attributes=QueueAttributes(redrive=RedrivePolicy("dead", 5)), redrive_target="dead", groups=(3, 4))
    text = drawn(replace(found, sources=["a", "b", "c", "d"], dead_letters=14))
    assert "a, b, c and 1 more ──dead letters──▶ orders ──received 5 times──▶ dead (14 there)" in text
    assert "2 stripes in groups 3, 4" in text
    assert "⚠" not in text


def test_an_empty_queue_is_a_short_picture() -> None:
    nothing = QueueCounts(0, 0, 0, None, 0, 0, 0, 0)
    found = Seen(seen(counts=nothing).queue, Census((1.0,), {"visible": (0, 0)}, (), NOW), [], [])
    assert [" ".join(line.split()) for line in drawn(found, 200).splitlines()] == [
        "orders standard queue, group 3, led by b-0",
        "",
        "visible 0",
        "in flight 0",
        "delayed 0",
        "",
        "in all sent 0 · received 0 · deleted 0",
        "set to visibility timeout 30 s · delay 0 s · kept 4 d · at most 256 KiB · receive waits 0 s",
    ]


def test_settings_of_fifo_queues_and_of_dead_letter_queues_are_told() -> None:
    attributes = QueueAttributes(
        2.5,
        message_size_limit=5_000,
        content_deduplication=True,
        deduplication_scope="message_group",
        throughput_limit="message_group",
        redrive_allow=RedriveAllowPolicy("by_queue", ("a.fifo", "b.fifo")),
    )
    text = drawn(seen("orders.fifo", attributes=attributes), 300)
    assert "FIFO queue" in text
    assert "visibility timeout 2.5 s" in text
    assert "at most 5,000 bytes" in text
    assert "deduplicated by content, per message group · high throughput · dead letters of a.fifo, b.fifo only" in text
    assert "duplicates 3" in text
    denied = QueueAttributes(redrive_allow=RedriveAllowPolicy("deny_all"))
    assert "dead letters of no queue only" in drawn(seen(attributes=denied), 300)


def test_every_warning_says_what_to_do() -> None:
    redrive = QueueAttributes(redrive=RedrivePolicy("dead", 5), retention=600.0)
    suspended = seen(attributes=redrive, redrive_target="dead", redrive_suspended_until=NOW + 60)
    text = drawn(suspended, 200)
    assert "dead letters stay here until" in text
    assert "dead did not take them\n  broker queue show dead" in text
    over = seen(attributes=redrive, redrive_target="dead", redrive_suspended_until=NOW - 60)
    assert "dead letters stay" not in drawn(over)
    gone = drawn(seen(attributes=redrive))
    assert "dead letters stay here: there is no queue dead\n  broker queue create dead" in gone
    old = drawn(seen(attributes=redrive, counts=replace(COUNTS, oldest_age=540.0), redrive_target="dead"), 200)
    assert "the oldest message expires in 1 min\n" in old
    assert "broker queue update orders --retention 1200" in old
    full = drawn(seen(counts=replace(COUNTS, in_flight=100_000)), 200)
    assert "100,000 messages are in flight; beyond 120,000 a group gives out no more\n  delete what is done" in full
    assert "nobody leads this queue's group at present\n  broker status" in drawn(seen(leader=""))


def test_a_move_that_runs_or_failed_is_told() -> None:
    move = Move("task-1", "running", None, 10, 120, 500, NOW, None)
    assert "▶ moving to where they came from: 120 of 500 (task-1)" in drawn(replace(seen(), moves=[move]))
    failed = replace(move, status="failed", failure="no such queue")
    text = drawn(replace(seen(), moves=[failed]))
    assert "the last move failed: no such queue\n  broker queue redrive start orders" in text
    assert "move" not in drawn(replace(seen(), moves=[replace(move, status="completed")]))


def test_a_narrow_terminal_cuts_bars_and_nothing_else() -> None:
    for width in (40, 60, 80):
        text = drawn(seen(), width)
        assert max(map(len, text.splitlines())) <= width
        assert "1,200" in text


def test_bars_show_what_is_not_nothing() -> None:
    assert bar(0, 10, 8, "").plain == bar(3, 0, 8, "").plain == ""
    assert bar(1, 1_000_000, 8, "").plain == "▏"
    assert bar(10, 10, 8, "").plain == "█" * 8
    assert stacked((1, 0, 9), 10, 10, [("a", ""), ("b", ""), ("c", "")]).plain == "accccccccc"
