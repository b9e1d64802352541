"""What a queue machine can be asked, and what it answers. Nothing here changes anything."""

from __future__ import annotations

import msgspec

from broker.base.ids import QueueId
from broker.base.instants import WallMillis
from broker.domain.queues.model import Target


class _Question(msgspec.Struct, frozen=True, array_like=True):
    queue: QueueId


class CountsOf(_Question, frozen=True, tag=1):
    """Answer: model.Counts."""


class AttributesOf(_Question, frozen=True, tag=2):
    """Answer: model.Described."""


class HasVisible(_Question, frozen=True, tag=3):
    """Would a Receive at this time find anything? Answered from memory, without counting. Answer: bool."""


class AllQueues(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Every queue of the group, by id. Answer: a list of (Described, Counts)."""


class Browse(_Question, frozen=True, tag=5):
    """Messages by key, those after ``after``, in one of ``states``, sent from ``since`` and before ``until``. At most
    ``limit``. Answer: BrowsePage."""

    states: tuple[str, ...]
    after: int = -1
    limit: int = 100
    since: WallMillis = WallMillis(0)
    until: WallMillis | None = None


class CensusOf(_Question, frozen=True, tag=6):
    """How old the messages are and whose they are: for each state, how many were sent before each of the ascending
    instants of ``bounds`` and not before the one before it; and the ``top`` message groups with most messages.
    Answer: Census."""

    bounds: tuple[WallMillis, ...]
    top: int = 10


class MovesOf(_Question, frozen=True, tag=7):
    """The latest move tasks, newest first. Answer: tuple[Move, ...]."""


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Messages in the outbox with a number above ``after``, ascending, at most ``limit``.
    Answer: tuple[Parcel, ...]."""

    after: int = 0
    limit: int = 1000


class SourcesOf(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Names of the queues of this group, ascending, whose redrive policy names ``target``. Answer: tuple[str, ...]."""

    target: str


class KnowsAttempt(_Question, frozen=True, tag=10):
    """Would a Receive with this receive-attempt id be answered as before? Answer: bool."""

    attempt: str


Question = (
    CountsOf | AttributesOf | HasVisible | AllQueues | Browse | CensusOf | MovesOf | Leaving | SourcesOf | KnowsAttempt
)

# --- answers


class Browsed(msgspec.Struct, frozen=True, array_like=True):
    """One message as it stands. ``until``: when it changes by time alone: an in-flight one becomes visible, a delayed
    one is due; 0 for a visible one."""

    index: int
    slot: int
    state: str
    sent_at: WallMillis
    until: WallMillis
    receive_count: int
    first_received_at: WallMillis
    group: str = ""


class BrowsePage(msgspec.Struct, frozen=True, array_like=True):
    """``more``: ask again with ``after`` set to the last key."""

    messages: tuple[Browsed, ...]
    more: bool


class Census(msgspec.Struct, frozen=True, array_like=True):
    """``ages`` by state, one number for each of the question's bounds and one for what was sent later than all of them.
    ``groups``: (name, visible and delayed, in flight), most first."""

    ages: dict[str, tuple[int, ...]]
    groups: tuple[tuple[str, int, int], ...]


RUNNING, COMPLETED, CANCELLED, FAILED = "running", "completed", "cancelled", "failed"


class Move(msgspec.Struct, frozen=True, array_like=True):
    """``to_move``: how many there were when it began. ``destination`` "": each to where it came from. ``rate`` 0: none
    was set. ``failure``: why it failed, or ""."""

    task: int
    status: str
    destination: str
    rate: int
    moved: int
    to_move: int
    started_at: WallMillis
    failure: str = ""
    label: str = ""


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """A message that has left queue ``name`` and that the courier is to carry to ``destination``, or, when that is
    None, to where it came from. Its content is slot ``slot`` of entry ``index``."""

    number: int
    queue: QueueId
    name: str
    index: int
    slot: int
    sent_at: WallMillis
    receive_count: int
    group: str
    destination: Target | None
