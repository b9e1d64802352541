"""What a history says about the broker's promises. Pure.

*Lost*: acknowledged and never delivered, although the queue says it is empty. *Missing*: the same, but the queue could
not be asked to the end. *Stored twice*: one send, two messages. *Back*: delivered by a receive that began after the
delete was confirmed. *Early*: delivered again while the one who had it could still hold it, or before its delay was
over. *Out of order*, in FIFO queues: an earlier message of its group was not delivered before, or was not done with; or
messages of one sender were stored in another order than they were sent in. *Again*: deliveries beyond the first, which
a visibility timeout that passes explains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from loadtest.faults.history import Delivery, History, Key, Mark

_EXAMPLES = 5
TOLERANCE_SECONDS = 0.05
"""By which log time may be behind: nodes tell one another their clocks with messages, which take their time."""


class Terms(msgspec.Struct, frozen=True):
    """What holds in the queue. Seconds: ``visibility``, for which a delivered message is held; ``delay``, before which
    none is delivered. ``moves``: messages go to other queues meanwhile, where each has another id."""

    visibility: float
    delay: float = 0.0
    fifo: bool = False
    moves: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """Counts of messages; gaps in seconds, from the first fault on."""

    sent: int
    acknowledged: int
    unsure: int
    received: int
    deleted: int
    lost: int
    missing: int
    stored_twice: int
    back: int
    early: int
    out_of_order: int
    changed: int
    again: int
    send_gap: float
    receive_gap: float
    errors: dict[str, int]
    examples: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        broken = (self.lost, self.missing, self.stored_twice, self.back, self.early, self.out_of_order, self.changed)
        return not any(broken)


def judge(history: History, terms: Terms, *, drained: bool) -> Verdict:
    """``drained``: the queues were asked to the end, and said that they are empty."""
    delivered = {delivery.key for delivery in history.deliveries}
    absent = sorted({stored.key for stored in history.stored} - delivered)
    twice = [] if terms.moves else stored_twice(history)
    back = back_after_delete(history)
    early = too_early(history, terms)
    disorder = out_of_order(history) if terms.fifo else []
    begin = next((mark.at for mark in history.marks), 0.0)
    end = _end(history.marks)
    found = {
        "lost" if drained else "missing": absent,
        "stored twice": twice,
        "back": back,
        "early": early,
        "out of order": disorder,
        "changed": history.changed,
    }
    return Verdict(
        sent=len(history.sent),
        acknowledged=len(history.stored),
        unsure=len(history.unsure),
        received=len(delivered),
        deleted=len(history.deleted),
        lost=len(absent) if drained else 0,
        missing=0 if drained else len(absent),
        stored_twice=len(twice),
        back=len(back),
        early=len(early),
        out_of_order=len(disorder),
        changed=len(history.changed),
        again=len(history.deliveries) - len(delivered),
        send_gap=max(longest_gap(instants, begin, end) for instants in _answers_of(history)),
        receive_gap=0.0 if history.answers else longest_gap((each.at for each in history.deliveries), begin, end),
        errors=dict(history.errors),
        examples=tuple(
            f"{what}: message {number} of sender {sender}"
            for what, keys in found.items()
            for sender, number in keys[:_EXAMPLES]
        ),
    )


def _answers_of(history: History) -> list[list[float]]:
    """Where nothing is sent all the time, those to questions stand for the acknowledgements."""
    return list(history.answers.values()) or [[stored.at for stored in history.stored]]


def stored_twice(history: History) -> list[Key]:
    """Keys that were delivered under more than one message id, or under another than was acknowledged."""
    ids: dict[Key, set[str]] = defaultdict(set)
    for stored in history.stored:
        ids[stored.key].add(stored.id)
    for delivery in history.deliveries:
        ids[delivery.key].add(delivery.id)
    return sorted(key for key, found in ids.items() if len(found) > 1)


def back_after_delete(history: History) -> list[Key]:
    deleted = history.deleted
    return sorted({each.key for each in history.deliveries if each.key in deleted and each.asked > deleted[each.key]})


def too_early(history: History, terms: Terms) -> list[Key]:
    """The broker holds a message for its visibility timeout from an instant between a receive call and its answer, and
    delays it from one between a send call and its answer."""
    delay, visibility = terms.delay - TOLERANCE_SECONDS, terms.visibility - TOLERANCE_SECONDS
    released: dict[Key, list[float]] = defaultdict(list)
    for key, at in history.given_back:
        released[key].append(at)
    earlier: dict[Key, list[Delivery]] = defaultdict(list)
    found = {each.key for each in history.deliveries if each.at < history.sent.get(each.key, 0.0) + delay}
    for delivery in sorted(history.deliveries, key=lambda each: each.at):
        for before in earlier[delivery.key]:
            is_free = any(before.at <= at <= delivery.at for at in released[delivery.key])
            if not is_free and _is_held(before, delivery, visibility):
                found.add(delivery.key)
        earlier[delivery.key].append(delivery)
    return sorted(found)


def _is_held(before: Delivery, later: Delivery, visibility: float) -> bool:
    """Whichever was answered first may have been handed out last: an answer can be long on its way."""
    apart = max(later.at - before.asked, before.at - later.asked)
    return later.call != before.call and apart < visibility


def out_of_order(history: History) -> list[Key]:
    return sorted({*_stored_out_of_order(history), *_overtaking(history)})


def _stored_out_of_order(history: History) -> Iterable[Key]:
    """A sender's messages get growing sequence numbers in the order of its calls: it keeps to one message group."""
    by_sender: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for stored in history.stored:
        if stored.number is not None:
            sender, position = stored.key
            by_sender[sender].append((position, stored.number))
    for sender, found in by_sender.items():
        highest = -1
        for position, number in sorted(found):
            if number <= highest:
                yield (sender, position)
            highest = max(highest, number)


def _overtaking(history: History) -> Iterable[Key]:
    """Messages handed out while an earlier one of their group was neither with them nor done with."""
    numbers: dict[str, dict[Key, int]] = defaultdict(dict)
    group_of = {delivery.key[0]: delivery.group for delivery in history.deliveries}
    for delivery in history.deliveries:
        if delivery.number is not None:
            numbers[delivery.group][delivery.key] = delivery.number
    for stored in history.stored:
        group = group_of.get(stored.key[0])
        if group is not None and stored.number is not None:
            numbers[group][stored.key] = stored.number
    calls: dict[tuple[str, int], list[Delivery]] = defaultdict(list)
    for delivery in history.deliveries:
        calls[delivery.group, delivery.call].append(delivery)
    open_of = {group: sorted((number, key) for key, number in found.items()) for group, found in numbers.items()}
    for (group, _), together in sorted(calls.items(), key=lambda item: item[1][0].at):
        waiting = _still_open(open_of.get(group, []), history.asked_to_delete, together[0].at)
        open_of[group] = waiting
        here = {delivery.key for delivery in together}
        highest = max((each.number for each in together if each.number is not None), default=0)
        if any(number < highest and key not in here for number, key in waiting):
            yield max(together, key=lambda each: each.number or 0).key


def _still_open(
    waiting: Sequence[tuple[int, Key]], asked_to_delete: dict[Key, float], at: float
) -> list[tuple[int, Key]]:
    return [(number, key) for number, key in waiting if asked_to_delete.get(key, at) >= at]


def longest_gap(instants: Iterable[float], begin: float, end: float | None = None) -> float:
    """The longest time within ``begin`` and ``end`` (None: the last of them) in which there was none."""
    inside = sorted(at for at in instants if at >= begin and (end is None or at <= end))
    if end is None:
        end = inside[-1] if inside else begin
    points = [begin, *inside, end]
    return max(later - earlier for earlier, later in pairwise(points))


def _end(marks: Sequence[Mark]) -> float | None:
    """When the senders stopped: what comes after is no gap."""
    return next((mark.at for mark in reversed(marks) if mark.what == STOPPED), None)


BEGUN = "fault begins"
ENDED = "fault ends"
WHOLE = "whole again"
STOPPED = "senders stop"
