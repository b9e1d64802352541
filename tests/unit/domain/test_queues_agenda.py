from broker.domain.queues.agenda import Agenda


def agenda_of(deadlines: dict[int, int]) -> Agenda:
    return Agenda(deadlines.get)


def test_what_is_due_comes_in_one_order_whatever_early_entries_a_replica_still_holds():
    """One replica planned queue 3 for an earlier time that moved back; another one was loaded from a snapshot."""
    with_a_past, loaded = agenda_of({1: 100, 3: 120}), agenda_of({1: 100, 3: 120})
    with_a_past.plan(3, 50)
    with_a_past.plan(1, 100)
    loaded.plan(1, 100)
    loaded.plan(3, 120)
    assert with_a_past.due(130) == loaded.due(130) == [1, 3]


def test_the_first_deadline_is_exact_although_entries_may_be_early():
    agenda = agenda_of({3: 120})
    agenda.plan(3, 50)
    assert agenda.first() == 120
