from broker.base.ids import Index, Term
from broker.replication.promises import Promises


def test_a_promise_is_kept_by_the_entry_of_its_own_term():
    promises = Promises()
    promises.make(Index(7), Term(3), token=11)
    assert promises.keep(Index(7), Term(3)) == (11, True)


def test_another_leaders_entry_at_the_index_breaks_the_promise():
    promises = Promises()
    promises.make(Index(7), Term(3), token=11)
    assert promises.keep(Index(7), Term(4)) == (11, False)


def test_nobody_waits_for_an_index_without_promise():
    assert Promises().keep(Index(1), Term(1)) is None


def test_a_promise_is_told_once():
    promises = Promises()
    promises.make(Index(7), Term(3), token=11)
    promises.keep(Index(7), Term(3))
    assert promises.keep(Index(7), Term(3)) is None
    assert len(promises) == 0


def test_all_promises_break_in_log_order():
    promises = Promises()
    for index, token in ((1, 30), (2, 10), (3, 20)):
        promises.make(Index(index), Term(1), token)
    assert list(promises.break_all()) == [30, 10, 20]
    assert len(promises) == 0
