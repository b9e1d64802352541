"""What a queue machine can be told, and what it answers.

Encoded with msgspec as arrays; the tag says which. Fields are only ever appended, with defaults, so that nodes of two
versions can share a log.
"""

from __future__ import annotations

import msgspec

from broker.base.errors import Refusal
from broker.base.ids import GroupId, QueueId
from broker.base.instants import Millis, WallMillis
from broker.domain.queues.model import Handle, QueueAttributes, Target


class _Command(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId


# --- the queue as a whole


class CreateQueue(_Command, frozen=True, tag=1):
    """Idempotent for equal attributes; refuses QueueExists for others. ``groups``: of its stripes, the home group
    first. ``target``: the queue that the redrive policy names, found."""

    name: str
    attributes: QueueAttributes
    groups: tuple[GroupId, ...] = ()
    target: Target | None = None


class UpdateQueue(_Command, frozen=True, tag=2):
    """As CreateQueue; empty ``groups``: as they are. ``expected``: refused Conflict when the attributes are others."""

    attributes: QueueAttributes
    groups: tuple[GroupId, ...] = ()
    target: Target | None = None
    expected: QueueAttributes | None = None


class DeleteQueue(_Command, frozen=True, tag=3):
    """``only_if_empty``: refused QueueNotEmpty while a message is in it or on its way out, or a move task runs."""

    only_if_empty: bool = False


class PurgeQueue(_Command, frozen=True, tag=4):
    """Drops every message sent before it. Refuses PurgeInProgress within limits.PURGE_INTERVAL of the last one."""


# --- messages


class Send(_Command, frozen=True, tag=5):
    """``count`` messages, encoded in ``messages`` as an array, which apply does not decode: slot k is its k-th element.

    ``largest``: size of the largest, checked against the queue's limit; the whole command is refused beyond it
    (MessageTooLong), the proposer having checked each message before. Per message, or None for all:
    ``delays``: milliseconds (None: the queue's); ``groups``: message group, "" for none; ``deduplication``: of FIFO
    queues, the id or the digest of the content; ``due``: instant before which it is invisible, 0 for none, instead of a
    delay; ``lifetimes``: milliseconds after which it expires, 0 for the queue's retention.
    """

    count: int
    largest: int
    delays: tuple[int, ...] | None
    messages: msgspec.Raw
    groups: tuple[str, ...] | None = None
    deduplication: tuple[str, ...] | None = None
    due: tuple[int, ...] | None = None
    lifetimes: tuple[int, ...] | None = None


class Receive(_Command, frozen=True, tag=6):
    """Takes up to ``max_messages`` visible messages in flight. None: the queue's visibility timeout. ``attempt``: of
    FIFO queues, the receive-attempt id, or ""."""

    max_messages: int
    visibility_timeout: Millis | None = None
    attempt: str = ""


class Delete(_Command, frozen=True, tag=7):
    """Per handle: done, also when the message is gone already; ReceiptHandleExpired when another delivery holds it."""

    handles: tuple[Handle, ...]


class ChangeVisibility(_Command, frozen=True, tag=8):
    """Per handle: the message stays invisible for ``timeouts[k]`` ms from now; 0 makes it visible at once.
    ``uncounted``: of those made visible, the receive does not count: nobody has seen the message."""

    handles: tuple[Handle, ...]
    timeouts: tuple[Millis, ...]
    uncounted: bool = False


class Cancel(_Command, frozen=True, tag=9):
    """Withdraws messages that are scheduled or delayed, named by (index, slot). Per message: NotScheduled when it is
    not waiting for its instant (any more)."""

    messages: tuple[tuple[int, int], ...]


class Exchange(_Command, frozen=True, tag=10):
    """``send`` to ``queue`` and ``delete`` from another or the same queue of this group: both or neither. Refused
    ReceiptHandleExpired when one of the handles does not hold its message."""

    send: Send
    delete: Delete


# --- moves


class StartMove(_Command, frozen=True, tag=11):
    """Begin to move the visible messages of a dead-letter queue: to ``destination``, or each to where it came from.
    ``rate``: messages a second, 0 for as fast as they are taken in. ``label``: told back by MovesOf; the tasks that one
    call starts in several stripes bear the same. Refuses MoveTaskRunning."""

    destination: Target | None
    rate: int
    label: str = ""


class CancelMove(_Command, frozen=True, tag=12):
    """``task``: as MoveStarted told. Refuses MoveTaskNotFound, MoveTaskNotRunning."""

    task: int


class Arrival(msgspec.Struct, frozen=True, array_like=True):
    """One message coming from another queue's outbox: ``number`` there, for ``queue`` here. ``size`` in bytes."""

    number: int
    queue: QueueId
    size: int
    group: str = ""
    deduplication: str = ""


class Arrive(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """What the courier carries from the outbox of group ``source``. Numbers ascend, within and between commands; what
    has arrived before is answered as before, and does not arrive again. ``messages`` as in Send.

    ``settled``: the source has taken note of the fate of everything below this number.
    """

    source: GroupId
    settled: int
    arrivals: tuple[Arrival, ...]
    messages: msgspec.Raw


class Shipped(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The far side's answers about messages of this group's outbox: ``accepted`` numbers, and those ``returned`` with
    why. What is not in the outbox any more is passed over."""

    accepted: tuple[int, ...]
    returned: tuple[tuple[int, Refusal], ...] = ()


class Retarget(_Command, frozen=True, tag=15):
    """The queue that the redrive policy names was found anew. Ignored when the policy names another one by now."""

    target: Target


Command = (
    CreateQueue
    | UpdateQueue
    | DeleteQueue
    | PurgeQueue
    | Send
    | Receive
    | Delete
    | ChangeVisibility
    | Cancel
    | Exchange
    | StartMove
    | CancelMove
    | Arrive
    | Shipped
    | Retarget
)

# --- replies


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    pass


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The messages' ids are (group, ``index``, 0 .. ``count`` - 1), except of ``duplicates``: (slot, key of the message
    that was sent first). In a FIFO queue a message's sequence number is its key."""

    index: int
    count: int
    at: WallMillis
    duplicates: tuple[tuple[int, int], ...] = ()


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """A message handed out. Its content is slot ``slot`` of the Send or Arrive command in entry ``index``. ``group``:
    its message group, or ""."""

    index: int
    slot: int
    receipt: int
    receive_count: int
    sent_at: WallMillis
    first_received_at: WallMillis
    group: str = ""


class Deliveries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Empty when nothing is visible. ``until``: when the visibility timeout ends."""

    deliveries: tuple[Delivery, ...]
    until: WallMillis


class Results(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Of a batch of handles: the positions that were refused; all others are done."""

    refused: tuple[tuple[int, Refusal], ...] = ()


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=5):
    refusal: Refusal


class MoveStarted(msgspec.Struct, frozen=True, array_like=True, tag=6):
    task: int


class MoveCancelled(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """``moved``: how many messages it had moved."""

    moved: int


class Arrived(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The numbers that were refused, with why; all others have arrived, now or before."""

    refused: tuple[tuple[int, Refusal], ...] = ()


Reply = Done | Sent | Deliveries | Results | Refused | MoveStarted | MoveCancelled | Arrived
"""base.errors.Refusal is the other possible reply to each command."""
