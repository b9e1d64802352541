"""The workloads there are, by name. Rates are modest: what is asked is whether promises hold, not how fast."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.faults.dead_letters import DeadLetters
from loadtest.faults.history import History
from loadtest.faults.idle import IdleQueues
from loadtest.faults.sqs import SqsTraffic
from loadtest.faults.traffic import Plan, Workload

STANDARD = Plan(
    "standard",
    "150 messages a second, four receivers of ten at a time",
    senders=6,
    every=0.04,
    receivers=4,
    most=10,
    wait=1.0,
    visibility=10.0,
)
FIFO = Plan(
    "fifo",
    "eight message groups, up to four sends of each unacknowledged, held for 0.2 s",
    senders=8,
    every=0.06,
    receivers=6,
    most=10,
    wait=1.0,
    visibility=5.0,
    ahead=4,
    hold=0.2,
    fifo=True,
)
SPREAD = Plan(
    "spread",
    "as fifo, with high throughput: the queue is spread over three groups of the cluster",
    senders=8,
    every=0.06,
    receivers=6,
    most=10,
    wait=1.0,
    visibility=5.0,
    ahead=4,
    hold=0.2,
    fifo=True,
    options={"deduplication_scope": "message_group", "throughput_limit": "message_group", "stripes": 3},
)
DEAD_LETTERS = Plan(
    "dead-letters",
    "every other message fails twice, is moved to the dead letters and back",
    senders=4,
    every=0.1,
    receivers=3,
    most=10,
    wait=1.0,
    visibility=5.0,
    moves=True,
)
POLLING = Plan(
    "polling",
    "forty consumers wait up to 20 s each for twelve messages a second",
    senders=3,
    every=0.25,
    receivers=40,
    most=1,
    wait=20.0,
    visibility=10.0,
)
HOLDING = Plan(
    "holding",
    "messages appear after a second, and whoever gets them works on them for two",
    senders=4,
    every=0.1,
    receivers=30,
    most=5,
    wait=1.0,
    visibility=6.0,
    hold=2.0,
    delay=1.0,
)
BATCHES = Plan(
    "batches",
    "batches of twenty sent, up to a hundred received and deleted at once",
    senders=3,
    every=0.3,
    receivers=3,
    most=100,
    wait=1.0,
    visibility=10.0,
    batch=20,
)
IDLE = Plan(
    "idle",
    "a queue with one message in every group, which is described five times a second",
    senders=0,
    every=0.0,
    receivers=0,
    most=1,
    wait=1.0,
    visibility=5.0,
)

SQS = Plan(
    "sqs",
    "twenty clients of the AWS port, a message a call: 150 a second",
    senders=12,
    every=0.08,
    receivers=8,
    most=10,
    wait=1.0,
    visibility=10.0,
)

PLANS = {plan.name: plan for plan in (STANDARD, FIFO, DEAD_LETTERS, HOLDING, POLLING, BATCHES, SPREAD, IDLE, SQS)}


def make(plan: Plan, number: int, history: History, aws_addresses: Sequence[str]) -> Workload:
    """``number``: of the cell. ``aws_addresses``: of the AWS ports, host:port."""
    if plan is DEAD_LETTERS:
        return DeadLetters(plan, number, history)
    if plan is IDLE:
        return IdleQueues(plan, number, history)
    if plan is SQS:
        return SqsTraffic(plan, number, history, aws_addresses)
    return Workload(plan, number, history)
