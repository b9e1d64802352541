"""Every number with a meaning, in one place. Sizes in bytes, times in milliseconds.

Queue limits are those of the Amazon SQS Developer Guide, "Amazon SQS message quotas" and the API reference of
CreateQueue, SendMessage, ReceiveMessage and ChangeMessageVisibility.
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
MAX_RECEIVE_WAIT = Millis(20 * SECOND)
DEFAULT_RECEIVE_WAIT = Millis(0)
MAX_IN_FLIGHT = 120_000
MAX_ATTRIBUTES_PER_MESSAGE = 10
ATTRIBUTE_NAME_MAX_LENGTH = 256
ATTRIBUTE_TYPE_MAX_LENGTH = 256
PURGE_INTERVAL = MINUTE
"""SQS allows one PurgeQueue per queue in 60 seconds."""

# Batches and frames of our own protocol
MAX_BATCH_ENTRIES = 1_000
MAX_BATCH_BYTES = 4 * MIB
MAX_RECEIVE_MESSAGES = 1_000
MAX_CREDIT = 10_000
LIST_PAGE = 1_000

# Retried requests
SESSION_WINDOW = 128
"""Requests of one session that may be outstanding at once; their replies are remembered for a retry."""
SESSION_IDLE_LIFETIME = Millis(10 * MINUTE)
MAX_SESSIONS = 20_000
"""Sessions remembered per group; the least recently used goes first."""

# The cluster
DEFAULT_DATA_GROUPS = 12
REPLICATION_FACTOR = 3
NAME_MAX_LENGTH = 63
"""Node and zone names: a DNS label, as Kubernetes wants it."""
