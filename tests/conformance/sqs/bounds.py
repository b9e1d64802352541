"""The documented bounds of everything in SQS's requests that has some: numbers, lengths, counts; and what SQS says
beyond them.

Amazon SQS API Reference and Developer Guide, "Amazon SQS quotas". The service model itself has no bounds for SQS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Make = Callable[[int], Any]
"""A value of a size."""

ENTRY_BODY = {"Id": "a", "MessageBody": "x"}
_VALUE = {"DataType": "String", "StringValue": "x"}


class Bound(NamedTuple):
    """``path``: of members, by dots; a list's first element. ``make``: a value of so much. ``says``: what is said of a
    value beyond the bounds. ``shape``: JSON's code, where it differs from ``code`` in the query protocol."""

    operation: str
    path: str
    least: int
    most: int
    make: Make
    says: Callable[[Any], str]
    code: str = "InvalidParameterValue"
    shape: str = "InvalidParameterValueException"
    fifo: bool = False
    margin: int = 0
    """So much less than the most is taken, because something is used up already."""

    @property
    def in_batch(self) -> bool:
        """Whether the entry alone is refused."""
        return self.path.startswith("Entries.") and self.path != "Entries.Id"


def itself(value: int) -> int:
    return value


def letters(size: int) -> str:
    return "a" * size


def _value(parameter: str, reason: str) -> Callable[[Any], str]:
    return lambda value: f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"


def _always(message: str) -> Callable[[Any], str]:
    return lambda _: message


_DELAY = _value("DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
_VISIBILITY = _value("VisibilityTimeout", "VisibilityTimeout must be an integer between 0 and 43200.")
_RATE = "MaxNumberOfMessagesPerSecond"
_BATCHES = {
    "SendMessageBatch": ("SendMessageBatchRequestEntry", ENTRY_BODY),
    "DeleteMessageBatch": ("DeleteMessageBatchRequestEntry", {"Id": "a", "ReceiptHandle": "AA=="}),
    "ChangeMessageVisibilityBatch": (
        "ChangeMessageVisibilityBatchRequestEntry",
        {"Id": "a", "ReceiptHandle": "AA==", "VisibilityTimeout": 0},
    ),
}

NUMBERS = [
    Bound("SendMessage", "DelaySeconds", 0, 900, itself, _DELAY),
    Bound("SendMessageBatch", "Entries.DelaySeconds", 0, 900, itself, _DELAY),
    Bound("ChangeMessageVisibility", "VisibilityTimeout", 0, 43_200, itself, _VISIBILITY, margin=60),
    Bound("ChangeMessageVisibilityBatch", "Entries.VisibilityTimeout", 0, 43_200, itself, _VISIBILITY, margin=60),
    Bound("ReceiveMessage", "VisibilityTimeout", 0, 43_200, itself, _VISIBILITY),
    Bound(
        "ReceiveMessage",
        "WaitTimeSeconds",
        0,
        20,
        itself,
        _value("WaitTimeSeconds", "Must be >= 0 and <= 20, if provided."),
    ),
    Bound(
        "ReceiveMessage",
        "MaxNumberOfMessages",
        1,
        10,
        itself,
        _value("MaxNumberOfMessages", "Must be between 1 and 10, if provided."),
    ),
    Bound(
        "ListQueues",
        "MaxResults",
        1,
        1_000,
        itself,
        _value("MaxResults", "MaxResults must be an integer between 1 and 1000."),
    ),
    Bound(
        "ListDeadLetterSourceQueues",
        "MaxResults",
        1,
        1_000,
        itself,
        _value("MaxResults", "MaxResults must be an integer between 1 and 1000."),
    ),
    Bound(
        "ListMessageMoveTasks",
        "MaxResults",
        1,
        10,
        itself,
        _value("MaxResults", "Must be between 1 and 10, if provided."),
    ),
    Bound("StartMessageMoveTask", _RATE, 1, 500, itself, _value(_RATE, f"{_RATE} must be between 1 and 500.")),
]


def _identifiers(name: str) -> Callable[[Any], str]:
    return _value(name, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.")


LENGTHS = [
    Bound(
        "CreateQueue",
        "QueueName",
        1,
        80,
        letters,
        _always("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
    ),
    Bound("SendMessage", "MessageGroupId", 1, 128, letters, _identifiers("MessageGroupId"), fifo=True),
    Bound("SendMessage", "MessageDeduplicationId", 1, 128, letters, _identifiers("MessageDeduplicationId"), fifo=True),
    Bound("SendMessageBatch", "Entries.MessageGroupId", 1, 128, letters, _identifiers("MessageGroupId"), fifo=True),
    Bound(
        "SendMessageBatch",
        "Entries.MessageDeduplicationId",
        1,
        128,
        letters,
        _identifiers("MessageDeduplicationId"),
        fifo=True,
    ),
    Bound(
        "ReceiveMessage", "ReceiveRequestAttemptId", 1, 128, letters, _identifiers("ReceiveRequestAttemptId"), fifo=True
    ),
    Bound(
        "AddPermission",
        "Label",
        1,
        80,
        letters,
        _value("Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
    ),
    *(
        Bound(
            operation,
            "Entries.Id",
            1,
            80,
            letters,
            _always(
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long."
            ),
            "AWS.SimpleQueueService.InvalidBatchEntryId",
            "InvalidBatchEntryId",
        )
        for operation in _BATCHES
    ),
    *(
        Bound(
            operation,
            path,
            1,
            256,
            lambda size: {letters(size): _VALUE},
            _always("Message (user) attribute names must be shorter than 256 Bytes"),
        )
        for operation, path in (("SendMessage", "MessageAttributes"), ("SendMessageBatch", "Entries.MessageAttributes"))
    ),
    Bound(
        "SendMessage",
        "MessageAttributes.x.DataType",
        6,
        256,
        lambda size: ("String." + letters(250))[:size],
        _always("Message (user) attribute types must be shorter than 256 Bytes"),
    ),
    Bound(
        "TagQueue",
        "Tags",
        1,
        128,
        lambda size: {letters(size): "x"},
        _always("Tag keys must be between 1 and 128 characters in length."),
    ),
    Bound("TagQueue", "Tags.x", 0, 256, letters, _always("Tag values must be between 0 and 256 characters in length.")),
    Bound(
        "CreateQueue",
        "tags",
        1,
        128,
        lambda size: {letters(size): "x"},
        _always("Tag keys must be between 1 and 128 characters in length."),
    ),
]


def _batch(operation: str) -> Iterator[Bound]:
    kind, entry = _BATCHES[operation]
    entries: Make = lambda size: [{**entry, "Id": f"id-{number}"} for number in range(size)]  # noqa: E731
    prefix = "AWS.SimpleQueueService."
    yield Bound(
        operation,
        "Entries",
        1,
        9,
        entries,
        _always(f"There should be at least one {kind} in the request."),
        f"{prefix}EmptyBatchRequest",
        "EmptyBatchRequest",
    )
    yield Bound(
        operation,
        "Entries",
        2,
        10,
        entries,
        _always("Maximum number of entries per request are 10. You have sent 11."),
        f"{prefix}TooManyEntriesInBatchRequest",
        "TooManyEntriesInBatchRequest",
    )


COUNTS = [
    *(bound for operation in _BATCHES for bound in _batch(operation)),
    *(
        Bound(
            operation,
            path,
            0,
            10,
            lambda size: {f"a{number}": _VALUE for number in range(size)},
            _always("Number of message attributes [11] exceeds the allowed maximum [10]."),
        )
        for operation, path in (("SendMessage", "MessageAttributes"), ("SendMessageBatch", "Entries.MessageAttributes"))
    ),
]
QUEUE_ATTRIBUTES = {
    "VisibilityTimeout": (0, 43_200),
    "DelaySeconds": (0, 900),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "MaximumMessageSize": (1_024, 1_048_576),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
ATTRIBUTES = [
    Bound(
        operation,
        f"Attributes.{name}",
        least,
        most,
        str,
        _always(f"Invalid value for the parameter {name}."),
        "InvalidAttributeValue",
        "InvalidAttributeValue",
    )
    for operation in ("CreateQueue", "SetQueueAttributes")
    for name, (least, most) in QUEUE_ATTRIBUTES.items()
]
