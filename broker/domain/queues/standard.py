"""One standard queue: every message is in one of four places, never received, delayed, in flight or visible again.

At-least-once, roughly in the order of sending, as Amazon SQS describes its standard queues (Developer Guide, "Amazon
SQS standard queues", "Amazon SQS visibility timeout"). The caller lets time pass (``surface``, ``expire``) before it
asks for anything else. Knows nothing of other queues, nor of who waits.
"""

from __future__ import annotations

from itertools import groupby

from broker.base.errors import (
    BrokerError,
    InvalidArgument,
    OverLimit,
    PurgeInProgress,
    ReceiptHandleExpired,
    ReceiptHandleInvalid,
    Refusal,
)
from broker.base.ids import QueueId
from broker.base.instants import WallMillis
from broker.base.limits import MAX_VISIBILITY_TIMEOUT, PURGE_INTERVAL
from broker.domain.queues.commands import Deliveries, Delivery, Results
from broker.domain.queues.delayed import Delayed, rounded
from broker.domain.queues.model import Counts, Described, Handle, QueueAttributes
from broker.domain.queues.keys import SLOT_BITS, SLOT_MASK
from broker.domain.queues.returned import ReturnedList
from broker.domain.queues.runs import RunList
from broker.domain.queues.visibility import Batch, InFlight


class StandardQueue:
    """Methods that take ``at`` raise a BrokerError before anything has changed, or succeed."""

    __slots__ = (
        "attributes",
        "created_at",
        "delayed",
        "deleted_total",
        "expired_total",
        "fresh",
        "id",
        "in_flight",
        "in_flight_limit",
        "modified_at",
        "name",
        "purged_at",
        "received_total",
        "returned",
        "sent_total",
    )

    def __init__(
        self, queue: QueueId, name: str, attributes: QueueAttributes, at: WallMillis, in_flight_limit: int
    ) -> None:
        self.id = queue
        self.name = name
        self.attributes = attributes
        self.created_at = at
        self.modified_at = at
        self.purged_at: WallMillis | None = None
        self.in_flight_limit = in_flight_limit
        self.sent_total = 0
        self.received_total = 0
        self.deleted_total = 0
        self.expired_total = 0
        self._empty()

    # --- commands

    def send(self, index: int, count: int, delays: tuple[int, ...] | None, at: WallMillis) -> int:
        """How many of the messages are visible at once. ``delays`` in milliseconds, checked."""
        self.sent_total += count
        if delays is None:
            delays_and_counts: list[tuple[int, int]] = [(self.attributes.delay, count)]
        else:
            delays_and_counts = [(delay, len(list(same))) for delay, same in groupby(delays)]
        key, visible = index << SLOT_BITS, 0
        for delay, messages in delays_and_counts:
            if delay:
                self.delayed.add(key, messages, at, rounded(delay))
            else:
                self.fresh.append(key, messages, at)
                visible += messages
            key += messages
        return visible

    def receive(self, receipt: int, maximum: int, timeout: int, at: WallMillis) -> Deliveries:
        """Oldest first. Raises OverLimit when nothing can be taken because too much is in flight."""
        room = self.in_flight_limit - len(self.in_flight)
        if room <= 0 and self.visible:
            raise OverLimit(
                f"{len(self.in_flight)} messages of queue {self.name} are in flight, the limit is "
                f"{self.in_flight_limit}: delete some first"
            )
        until = WallMillis(at + timeout)
        deliveries: list[Delivery] = []
        batch = self._take(min(maximum, room), receipt, until, at, deliveries)
        if batch is not None:
            self.received_total += len(deliveries)
            if timeout:
                self.in_flight.add(batch)
            else:
                self.returned.add([batch.row(key, sent) for key, sent in zip(batch.keys, batch.sents, strict=True)])
        return Deliveries(tuple(deliveries), until)

    def delete(self, handles: tuple[Handle, ...], index: int) -> Results:
        """``index``: of the command, which every receipt must precede."""
        in_flight = self.in_flight
        holders, release = in_flight.holders, in_flight.release
        refused: list[tuple[int, Refusal]] = []
        before = len(holders)
        for position, handle in enumerate(handles):
            key = handle.index << SLOT_BITS | handle.slot
            batch = holders.get(key)
            if batch is not None and batch.receipt == handle.receipt:
                release(key, batch)
            else:
                refusal = self._delete_visible(handle, key, index, batch is not None)
                if refusal is not None:
                    refused.append((position, Refusal.of(refusal)))
        self.deleted_total += before - len(holders)
        return Results(tuple(refused))

    def change_visibility(
        self, handles: tuple[Handle, ...], timeouts: tuple[int, ...], at: WallMillis
    ) -> tuple[Results, int]:
        """Also how many messages became visible. The handles take effect one after the other."""
        refused: list[tuple[int, Refusal]] = []
        visible = 0
        for position, (handle, timeout) in enumerate(zip(handles, timeouts, strict=True)):
            key = handle.index << SLOT_BITS | handle.slot
            batch = self.in_flight.holders.get(key)
            refusal = self._check_change(handle, batch, timeout, at)
            if refusal is not None or batch is None:
                refused.append((position, Refusal.of(refusal or _not_in_flight(handle))))
            elif timeout:
                self.in_flight.extend(key, batch, WallMillis(at + timeout))
            else:
                self.returned.add((self.in_flight.withdraw(key, batch),))
                visible += 1
        self.in_flight.settle()
        return Results(tuple(refused)), visible

    def purge(self, at: WallMillis) -> None:
        """Raises PurgeInProgress within limits.PURGE_INTERVAL of the last purge."""
        if self.purged_at is not None and at < self.purged_at + PURGE_INTERVAL:
            raise PurgeInProgress(
                f"queue {self.name} was purged {at - self.purged_at} ms ago: wait until {PURGE_INTERVAL} ms have passed"
            )
        self.purged_at = at
        self.deleted_total += self.messages
        self._empty()

    # --- time

    def surface(self, at: int) -> int:
        """Make visible what is due by ``at``: ended delays and visibility time-outs. How many messages that were."""
        visible = self.delayed.ripen(at, self.fresh)
        for columns in self.in_flight.end(at):
            self.returned.add_columns(columns)
            visible += len(columns[0])
        return visible

    def expire(self, at: int) -> None:
        """Drop every message, wherever it is, that was sent a retention period before ``at`` or earlier."""
        instant = at - self.attributes.retention
        self.expired_total += (
            self.fresh.drop_sent_until(instant)
            + self.returned.drop_sent_until(instant)
            + self.in_flight.drop_sent_until(instant)
            + self.delayed.drop_sent_until(instant)
        )

    def next_surfacing(self) -> int | None:
        """When the next delay or visibility time-out ends."""
        return _earlier(self.in_flight.next_end(), self.delayed.next_due())

    def next_expiry(self) -> int | None:
        oldest = self.oldest_sent()
        return None if oldest is None else oldest + self.attributes.retention

    # --- questions

    @property
    def visible(self) -> int:
        return self.fresh.messages + self.returned.messages

    @property
    def messages(self) -> int:
        return self.visible + len(self.in_flight) + self.delayed.messages

    def oldest_sent(self) -> WallMillis | None:
        oldest = self.fresh.oldest_sent()
        if self.returned.messages:
            oldest = _earlier(oldest, self.returned.oldest_sent())
        if self.in_flight.holders:
            oldest = _earlier(oldest, self.in_flight.oldest_sent())
        if self.delayed.messages:
            oldest = _earlier(oldest, self.delayed.oldest_sent())
        return None if oldest is None else WallMillis(oldest)

    def described(self) -> Described:
        return Described(self.id, self.name, self.attributes, self.created_at, self.modified_at)

    def counts(self) -> Counts:
        return Counts(
            self.visible,
            len(self.in_flight),
            self.delayed.messages,
            self.oldest_sent(),
            self.sent_total,
            self.received_total,
            self.deleted_total,
            self.expired_total,
        )

    def has_visible(self, at: int) -> bool:
        """Also true when something becomes visible by ``at``, though all of that may expire in the same instant."""
        horizon = at - self.attributes.retention
        for place in (self.fresh, self.returned):
            newest = place.newest_sent()
            if newest is not None and newest > horizon:
                return True
        due = self.next_surfacing()
        return due is not None and due <= at

    # --- inside

    def _empty(self) -> None:
        self.fresh = RunList()
        self.returned = ReturnedList()
        self.delayed = Delayed()
        self.in_flight = InFlight()

    def _take(self, wanted: int, receipt: int, until: int, at: WallMillis, deliveries: list[Delivery]) -> Batch | None:
        """Take the oldest from both visible places, merged by key; the deliveries are appended."""
        keys: list[int] = []
        sents: list[int] = []
        repeats: dict[int, tuple[int, int]] = {}
        fresh, returned = self.fresh, self.returned
        left = wanted
        while left:
            next_fresh, next_returned = fresh.first_key(), returned.first_key()
            if next_returned < next_fresh:
                for key, sent, first, _, count in returned.take(left, next_fresh):
                    keys.append(key)
                    sents.append(sent)
                    repeats[key] = first, count + 1
                    deliveries.append(
                        Delivery(
                            key >> SLOT_BITS, key & SLOT_MASK, receipt, count + 1, WallMillis(sent), WallMillis(first)
                        )
                    )
            elif fresh.messages:
                for key, messages, sent in fresh.take(left, next_returned):
                    index, slot = key >> SLOT_BITS, key & SLOT_MASK
                    keys += range(key, key + messages)
                    sents += [sent] * messages
                    deliveries += [
                        Delivery(index, each, receipt, 1, WallMillis(sent), at) for each in range(slot, slot + messages)
                    ]
            else:
                break
            left = wanted - len(keys)
        return Batch(receipt, at, until, keys, sents, repeats or None) if keys else None

    def _delete_visible(self, handle: Handle, key: int, index: int, held: bool) -> BrokerError | None:
        """Delete a message whose time-out has ended and that nobody received since. Gone already: nothing to do."""
        if not handle.index < handle.receipt < index:
            return _never_given(handle)
        receipt = None if held else self.returned.receipt_of(key)
        if held or (receipt is not None and receipt != handle.receipt):
            return ReceiptHandleExpired(
                f"message {handle.index}/{handle.slot} was received again since: use the newest receipt handle"
            )
        if receipt is not None:
            self.returned.remove(key)
            self.deleted_total += 1
        return None

    @staticmethod
    def _check_change(handle: Handle, batch: Batch | None, timeout: int, at: int) -> BrokerError | None:
        if not 0 <= timeout <= MAX_VISIBILITY_TIMEOUT:
            return InvalidArgument(
                f"a visibility timeout of {timeout} ms is out of range: use 0 to {MAX_VISIBILITY_TIMEOUT} ms"
            )
        if batch is None or batch.receipt != handle.receipt:
            return _not_in_flight(handle)
        total = at + timeout - batch.received_at
        if total > MAX_VISIBILITY_TIMEOUT:
            return InvalidArgument(
                f"the message would be invisible for {total} ms since it was received, the limit is "
                f"{MAX_VISIBILITY_TIMEOUT} ms: use at most {timeout - total + MAX_VISIBILITY_TIMEOUT} ms"
            )
        return None


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return one if one < other else other


def _not_in_flight(handle: Handle) -> BrokerError:
    return ReceiptHandleExpired(
        f"this delivery of message {handle.index}/{handle.slot} is over (visible again, received again, or gone): "
        "receive it again to change its visibility"
    )


def _never_given(handle: Handle) -> BrokerError:
    return ReceiptHandleInvalid(
        f"no delivery {handle.receipt} of a message {handle.index}/{handle.slot} was ever made: "
        "pass a receipt handle exactly as it was received"
    )
