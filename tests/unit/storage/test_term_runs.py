from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from broker.storage.term_runs import TermRuns, runs_of

EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 5), st.lists(st.integers(0, 2), min_size=1, max_size=5)),
        st.tuples(st.just("trim"), st.integers(0, 5), st.just([0])),
        st.tuples(st.just("reset"), st.integers(0, 9), st.just([0])),
    ),
    max_size=12,
)


@given(EDITS)
def test_terms_are_those_of_a_plain_dictionary(edits: list[tuple[str, int, list[int]]]) -> None:
    # given a log kept as a dictionary beside the runs
    runs, terms, first, last, term = TermRuns(), {0: 0}, 1, 0, 1
    for what, number, steps in edits:
        # when entries are appended with growing terms, the beginning goes, or all of it
        if what == "append":
            start = max(last + 1 - number, first)
            added = []
            for offset, step in enumerate(steps):
                term += step
                added.append((start + offset, term))
            runs.replace(runs_of(added))
            terms = {index: t for index, t in terms.items() if index < start} | dict(added)
            last = added[-1][0]
        elif what == "trim":
            first = min(first + number, last + 1)
            runs.trim(first)
            terms = {index: t for index, t in terms.items() if index >= first - 1}
        else:
            first, last = last + number + 1, last + number
            runs.reset(last, term)
            terms = {last: term}

        # then both agree, from the index before the first
        covered = range(first - 1, last + 1)
        assert [runs.at(index) for index in covered] == [terms[index] for index in covered]
        assert runs.at(first - 2) is None
        assert [TermRuns(runs.all()).at(index) for index in covered] == [terms[index] for index in covered]
        starts = [start for start, _ in runs.within(first, last)]
        assert starts == sorted(set(starts))
        assert starts[:1] == ([first] if first <= last else [])


def test_runs_are_only_where_the_term_changes() -> None:
    assert runs_of([(5, 1), (6, 1), (7, 3), (8, 3), (9, 4)]) == [(5, 1), (7, 3), (9, 4)]
