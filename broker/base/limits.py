"""Every number with a meaning, in one place. Sizes in bytes, times in milliseconds.

Queue limits are those of the Amazon SQS Developer Guide, "Amazon SQS message quotas", "Amazon SQS fair queues", and the
API reference of CreateQueue, SendMessage, ReceiveMessage, ChangeMessageVisibility and StartMessageMoveTask.
"""

from __future__ import annotations

from broker.base.instants import DAY, MINUTE, SECOND, Millis

KIB = 1024
MIB = 1024 * KIB

# Queues
QUEUE_NAME_MAX_LENGTH = 80
MAX_MESSAGE_SIZE = MIB
MIN_MESSAGE_SIZE_LIMIT = KIB
DEFAULT_MESSAGE_SIZE_LIMIT = 256 * KIB
MAX_DELAY = Millis(900 * SECOND)
DEFAULT_DELAY = Millis(0)
MAX_VISIBILITY_TIMEOUT = Millis(43_200 * SECOND)
DEFAULT_VISIBILITY_TIMEOUT = Millis(30 * SECOND)
MIN_RETENTION = Millis(60 * SECOND)
MAX_RETENTION = Millis(14 * DAY)
DEFAULT_RETENTION = Millis(4 * DAY)
MIN_LIFETIME = SECOND
"""Of a single message; at most its queue's retention."""
MAX_RECEIVE_WAIT = Millis(20 * SECOND)
DEFAULT_RECEIVE_WAIT = Millis(0)
MAX_IN_FLIGHT = 120_000
MAX_TAGS = 50
TAG_KEY_MAX_LENGTH = 128
TAG_VALUE_MAX_LENGTH = 256
MAX_TAGS_SIZE = 24 * KIB
"""Keys and values of one queue together."""
MAX_KEPT_SIZE = 24 * KIB
"""Of what a front door keeps with a queue for its callers, such as a policy; names and values together."""
MAX_ATTRIBUTES_PER_MESSAGE = 10
TRACE_MAX_LENGTH = KIB
ATTRIBUTE_NAME_MAX_LENGTH = 256
ATTRIBUTE_TYPE_MAX_LENGTH = 256
PURGE_INTERVAL = MINUTE
"""SQS allows one PurgeQueue per queue in 60 seconds."""

# FIFO queues
DEDUPLICATION_INTERVAL = Millis(5 * MINUTE)
"""SendMessage: a deduplication id is remembered so long. ReceiveMessage: so is a receive-attempt id."""
MESSAGE_GROUP_MAX_LENGTH = 128
DEDUPLICATION_ID_MAX_LENGTH = 128
RECEIVE_ATTEMPT_MAX_LENGTH = 128
DEFAULT_FIFO_STRIPES = 4
"""Over how many groups a new queue of high throughput is spread, when the cluster has as many."""
MAX_STRIPES = 64

# Fair queues
NOISY_IN_FLIGHT = 30
"""A message group of a standard queue with fewer messages in flight is never noisy."""
NOISY_PERCENT = 10
"""Of the messages in flight; a message group with more is noisy, and waits while others have messages."""

# Dead letters
MAX_RECEIVE_COUNT = 1_000
MAX_REDRIVE_SOURCES = 10
MAX_MOVE_RATE = 500
"""Messages per second of a move task (StartMessageMoveTask)."""
MOVES_KEPT = 10
"""Latest move tasks of a queue that are listed (ListMessageMoveTasks)."""
MAX_MOVING = 1_000
"""Messages that one move task has in the outbox at once."""
REDRIVE_SUSPENSION = MINUTE
"""How long dead letters stay where they are after the dead-letter queue refused one."""

# Batches and frames of our own protocol
MAX_BATCH_ENTRIES = 1_000
MAX_BATCH_BYTES = 4 * MIB
MAX_RECEIVE_MESSAGES = 1_000
MAX_CREDIT = 10_000
LIST_PAGE = 1_000
MAX_BROWSE_PAGE = 1_000

# Retried requests
SESSION_WINDOW = 128
"""Requests of one session that may be outstanding at once; their replies are remembered for a retry."""
SESSION_IDLE_LIFETIME = Millis(10 * MINUTE)
MAX_SESSIONS = 20_000
"""Sessions remembered per group; the least recently used goes first."""
MAX_SESSIONS_SIZE = 64 * MIB
"""Bytes of replies remembered per group. Beyond it, too, the least recently used session goes first."""

# Access keys
MAX_ACCESS_KEYS = 10_000
"""Of the whole cluster: each replica of the directory's group keeps them in memory."""
ACCESS_KEY_USER_MAX_LENGTH = 64
"""As the name of an IAM user."""

# The cluster
DEFAULT_DATA_GROUPS = 12
MAX_DATA_GROUPS = 1_000
REPLICATION_FACTOR = 3
NAME_MAX_LENGTH = 63
"""Node and zone names: a DNS label, as Kubernetes wants it."""
