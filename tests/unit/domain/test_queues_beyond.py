"""What queues do beyond Amazon's: schedules, lifetimes, exchanges, browsing, and tenants that do not starve others."""

from __future__ import annotations

import pytest

from broker.base.ids import QueueId
from broker.base.instants import DAY, MINUTE, SECOND, Millis, WallMillis
from broker.domain.queues import commands
from broker.domain.queues.commands import Delete, Done, Send, Sent
from broker.domain.queues.model import DELAYED, IN_FLIGHT, STATES, VISIBLE, Handle, QueueAttributes
from broker.domain.queues.questions import Browse, BrowsePage, Census, CensusOf
from tests.unit.domain.queue_log import CONTENT, QUEUE, START, QueueLog, codes, handle_of, places, refusal_of


def scheduled(log: QueueLog, *after: int, groups: tuple[str, ...] | None = None) -> Sent:
    """Messages due so many milliseconds from now."""
    due = tuple(START + log.at + each for each in after)
    reply = log.apply(Send(QUEUE, len(due), 1, None, CONTENT, groups, None, due))
    assert isinstance(reply, Sent)
    return reply


# --- schedules


def test_a_scheduled_message_is_not_visible_a_millisecond_early() -> None:
    log = QueueLog()
    scheduled(log, 2 * DAY, DAY)
    assert log.machine.next_deadline() == START + DAY
    log.at += DAY - 1
    assert not log.deliver()
    log.at += 1
    assert [each.slot for each in log.deliver()] == [1]


def test_an_instant_that_has_passed_is_now() -> None:
    log = QueueLog()
    scheduled(log, -5, 0)
    assert log.where() == (2, 0, 0)


def test_a_cancelled_message_is_never_delivered() -> None:
    log = QueueLog()
    sent = scheduled(log, MINUTE, MINUTE)
    log.reload()
    assert codes(log.apply(commands.Cancel(QUEUE, ((sent.index, 0), (sent.index, 0))))) == {1: "NotScheduled"}
    log.at += MINUTE
    assert [each.slot for each in log.deliver()] == [1]
    assert codes(log.apply(commands.Cancel(QUEUE, ((sent.index, 1),)))) == {0: "NotScheduled"}


def test_a_message_cannot_be_due_after_its_end() -> None:
    log = QueueLog(QueueAttributes(retention=Millis(MINUTE)))
    due = (START + MINUTE,)
    assert refusal_of(log.apply(Send(QUEUE, 1, 1, None, CONTENT, None, None, due))) == "InvalidArgument"


def test_a_tenants_schedule_survives_a_dump() -> None:
    log = QueueLog()
    scheduled(log, SECOND, 2 * SECOND, groups=("a", ""))
    log.reload()
    log.at += 2 * SECOND
    assert places(log.deliver()) == [("a", 2, 0), ("", 2, 1)]


def test_scheduled_messages_expire_with_the_others() -> None:
    log = QueueLog(QueueAttributes(retention=Millis(MINUTE)))
    scheduled(log, 59 * SECOND, groups=("a",))
    log.apply(commands.UpdateQueue(QUEUE, QueueAttributes(retention=Millis(MINUTE))))
    log.at += MINUTE
    log.apply(commands.Receive(QUEUE, 1))
    assert (log.counts().expired_total, log.counts().message_groups) == (1, 0)


# --- lifetimes


@pytest.mark.parametrize("where", ["waiting", "in flight", "visible again", "scheduled"])
@pytest.mark.parametrize("group", ["", "a"])
def test_a_message_lives_no_longer_than_its_lifetime_wherever_it_is(where: str, group: str) -> None:
    log = QueueLog()
    due = (START + 10 * MINUTE,) if where == "scheduled" else None
    log.apply(Send(QUEUE, 1, 1, None, CONTENT, (group,), None, due, (30 * SECOND,)))
    log.send()
    if where in {"in flight", "visible again"}:
        delivery = next(each for each in log.deliver(2) if each.index == 2)
        if where == "visible again":
            log.change_visibility([handle_of(delivery)], 0)
    log.reload()
    log.at += 30 * SECOND
    log.apply(commands.Receive(QUEUE, 1))
    assert log.counts().expired_total == 1
    assert sum(log.where()) == 1


# --- exchanges


def exchange(log: QueueLog, handle: Handle, to: QueueId = QUEUE) -> object:
    return log.apply(commands.Exchange(to, Send(to, 1, 1, None, CONTENT), Delete(QUEUE, (handle,))))


def test_an_exchange_sends_one_and_deletes_the_other() -> None:
    log = QueueLog()
    log.apply(commands.CreateQueue(QueueId(9), "next", QueueAttributes()))
    log.send()
    assert isinstance(exchange(log, log.receive()[0], QueueId(9)), Sent)
    assert log.where() == (0, 0, 0)
    assert [effect.key for effect in log.effects] == [("queue", 9)]


def test_an_exchange_for_a_message_that_is_gone_sends_nothing() -> None:
    log = QueueLog()
    log.send()
    handle = log.receive()[0]
    log.delete(handle)
    assert refusal_of(exchange(log, handle)) == "ReceiptHandleExpired"
    assert log.counts().sent_total == 1


def test_an_exchange_whose_send_is_refused_deletes_nothing() -> None:
    log = QueueLog()
    log.send()
    handle = log.receive()[0]
    too_long = commands.Exchange(QUEUE, Send(QUEUE, 1, 1 << 30, None, CONTENT), Delete(QUEUE, (handle,)))
    assert refusal_of(log.apply(too_long)) == "MessageTooLong"
    assert log.where() == (0, 1, 0)


# --- updates that meet


def test_an_update_of_what_was_changed_meanwhile_is_refused() -> None:
    log = QueueLog()
    one, two = QueueAttributes(delay=Millis(SECOND)), QueueAttributes(retention=Millis(DAY))
    assert log.apply(commands.UpdateQueue(QUEUE, one, expected=QueueAttributes())) == Done()
    assert refusal_of(log.apply(commands.UpdateQueue(QUEUE, two, expected=QueueAttributes()))) == "Conflict"


# --- browsing


def browsed(log: QueueLog, *states: str, after: int = -1, limit: int = 10) -> BrowsePage:
    page = log.query(Browse(QUEUE, states or STATES, after, limit))
    assert isinstance(page, BrowsePage)
    return page


def test_browsing_shows_every_message_in_its_state_and_changes_none() -> None:
    log = QueueLog()
    log.send(1)
    log.send(1, delays=(5_000,))
    log.send_to_groups("a")
    scheduled(log, DAY, groups=("b",))
    log.deliver(1)
    page = browsed(log)
    assert [(each.index, each.state, each.group) for each in page.messages] == [
        (2, IN_FLIGHT, ""),
        (3, DELAYED, ""),
        (4, VISIBLE, "a"),
        (5, DELAYED, "b"),
    ]
    assert [each.until - START for each in page.messages if each.until] == [30_000, 5_000, DAY]
    assert log.where() == (1, 1, 2)


def test_pages_follow_one_another() -> None:
    log = QueueLog()
    log.send(3)
    first = browsed(log, VISIBLE, limit=2)
    assert first.more
    last = browsed(log, VISIBLE, limit=2, after=2 << 16 | 1)
    assert ([each.slot for each in last.messages], last.more) == ([2], False)


def test_a_fifo_queue_shows_what_is_delayed_as_delayed() -> None:
    log = QueueLog(QueueAttributes(delay=Millis(SECOND)), name="orders.fifo")
    log.send_to_groups("a", "1")
    log.at += SECOND
    log.send_to_groups("ab", "23")
    assert [(each.index, each.state) for each in browsed(log).messages] == [(2, VISIBLE), (3, DELAYED), (3, DELAYED)]


def test_a_census_tells_ages_and_the_largest_groups() -> None:
    log = QueueLog()
    log.send_to_groups("aab")
    log.at += MINUTE
    log.send(2)
    log.deliver(1)
    census = log.query(CensusOf(QUEUE, (WallMillis(START + 1), WallMillis(START + MINUTE + 1)), 1))
    assert isinstance(census, Census)
    assert census.ages == {VISIBLE: (2, 2, 0), IN_FLIGHT: (1, 0, 0), DELAYED: (0, 0, 0)}
    assert census.groups == (("a", 1, 1),)


# --- fairness


def test_a_noisy_tenant_waits_while_others_have_messages() -> None:
    log = QueueLog()
    for _ in range(10):
        log.send_to_groups("n" * 100)
    log.deliver(100)
    log.send_to_groups("qqq")
    log.send(2)
    assert [each.group for each in log.deliver(6)] == ["q", "q", "q", "", "", "n"]


def test_a_tenant_with_few_in_flight_is_not_noisy_however_large_its_share() -> None:
    log = QueueLog()
    log.send_to_groups("n" * 60)
    log.deliver(29)
    log.send_to_groups("q")
    assert {each.group for each in log.deliver(1)} == {"n"}
    assert {each.group for each in log.deliver(1)} == {"q"}


def test_a_tenth_of_what_is_in_flight_is_not_noisy() -> None:
    log = QueueLog()
    log.send(900)
    log.deliver(900)
    log.send_to_groups("n" * 150)
    log.send_to_groups("q")
    taken = [each.group for each in log.deliver(110)]
    # 101 of the 1,001 in flight then are more than a tenth.
    assert taken == ["n"] * 101 + ["q"] + ["n"] * 8


def test_fairness_is_the_same_after_a_dump() -> None:
    log = QueueLog()
    log.send_to_groups("n" * 100)
    log.deliver(40)
    log.send_to_groups("qn")
    log.reload()
    assert [each.group for each in log.deliver(2)] == ["q", "n"]
