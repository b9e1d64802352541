"""Reports: nothing that went wrong is left out, and the page stands alone."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
import pytest

from loadtest.faults.markdown import recorded, section_of
from loadtest.faults.outcome import STEP_SECONDS, Outcome, State, Timeline, timeline_of, worst_by_cell
from loadtest.faults.page import page_of
from loadtest.faults.report import Setting, line_of, remarks_of, summary_of, text_of
from loadtest.faults.timeline import picture
from loadtest.faults.verdict import BEGUN, ENDED, WHOLE, Terms, judge
from tests.unit.loadtest.faults.histories import Told

SETTING = Setting("make faults", "2026-01-02 03:04 UTC", "a <machine>", "namespaces", "0.1.0")


def outcome(fault: str = "cut", workload: str = "fifo", *, lost: int = 0, doubts: tuple[str, ...] = ()) -> Outcome:
    told = Told()
    for number in range(10):
        told.at(number * STEP_SECONDS).send((0, number))
        if number >= lost:
            told.deliver((0, number))
    told.at(1.0).mark(BEGUN)
    told.at(2.0).mark(ENDED)
    told.at(2.5).mark(WHOLE)
    verdict = judge(told, Terms(5.0), drained=True)
    return Outcome(fault, workload, verdict, timeline_of(told), 0.5, "", (), doubts, "", True, 3.0)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (outcome(), "kept"),
        (outcome(doubts=("the node still leads",)), "doubtful"),
        (msgspec.structs.replace(outcome(), whole_after=None, lacked="a leader"), "doubtful"),
        (msgspec.structs.replace(outcome(), trouble="a node did not start"), "doubtful"),
        (msgspec.structs.replace(outcome(), drained=False), "doubtful"),
        (outcome(lost=1, doubts=("the node still leads",)), "broken"),
    ],
)
def test_a_cell_is_broken_by_messages_and_doubtful_by_all_else(found: Outcome, state: State) -> None:
    assert found.state == state


def test_of_a_cell_that_ran_twice_the_worse_run_counts() -> None:
    good, bad = outcome(), outcome(lost=2)
    assert worst_by_cell([bad, good])[good.cell] is bad
    assert worst_by_cell([good, bad])[good.cell] is bad


def test_whatever_went_wrong_is_said() -> None:
    found = msgspec.structs.replace(
        outcome(lost=1, doubts=("still leads",)), whole_after=None, lacked="a leader", drained=False, trouble="no start"
    )
    said = remarks_of(found)
    for part in ("no start", "still leads", "still lacked a leader", "not drained", "lost: message 0 of sender 0"):
        assert any(part in remark for remark in said)


def test_the_text_has_the_setting_the_sum_the_matrix_and_each_cell() -> None:
    outcomes = [outcome(), outcome("kill", "standard", lost=3)]
    text = text_of(outcomes, SETTING)
    assert "a <machine>" in text
    assert "2 cells: 1 kept, 0 doubtful, 1 broken; 20 messages acknowledged, 3 lost, 0 out of order" in text
    matrix = [line.split() for line in text.splitlines()]
    assert ["cut", "kept", "-"] in matrix
    assert ["kill", "-", "broken"] in matrix
    assert "kill x standard: lost: message 0 of sender 0" in text


def test_the_line_of_a_cell_says_what_was_broken() -> None:
    assert "3 lost" in line_of(outcome(lost=3))
    assert "all kept" in line_of(outcome())
    assert summary_of([]).startswith("0 cells")


def test_the_section_has_rows_as_wide_as_their_heads_and_says_what_was_not_kept() -> None:
    section = section_of([outcome(), outcome("kill", "standard", doubts=("a | b",))], SETTING)
    rows = [line for line in section.splitlines() if line.startswith("|")]
    widths = [line.replace("\\|", "").count("|") for line in rows]
    assert set(widths[:4]) == {4}
    assert len(set(widths[4:])) == 1
    assert "- kill x standard, doubtful: a \\| b" in section
    assert "a &lt;machine>" in section


def test_a_page_tells_of_the_last_run_only() -> None:
    page = recorded("# Faults\n\ntext\n", "first\n")
    assert page == "# Faults\n\ntext\n\n## The last run\n\nfirst\n"
    assert recorded(page, "second\n") == "# Faults\n\ntext\n\n## The last run\n\nsecond\n"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src"}]
        self.places |= {value or "" for name, value in attrs if name == "id"}

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    page = page_of([outcome(doubts=("a <b> & c",)), outcome("kill", lost=1)], SETTING)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {address.removeprefix("#") for address in tags.addresses} == tags.places
    assert "a &lt;b&gt; &amp; c" in page
    assert page.count("<svg") == 2


def test_the_picture_shows_the_fault_and_when_the_cluster_was_whole() -> None:
    drawn = picture(outcome().timeline)
    assert 'class="fault"' in drawn
    assert 'class="whole"' in drawn


def test_the_picture_of_nothing_is_a_picture() -> None:
    assert picture(Timeline((), (), ())).endswith("</svg>")
