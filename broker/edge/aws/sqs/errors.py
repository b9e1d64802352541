"""What SQS says when it refuses: codes, HTTP statuses and wording, for both protocols; and how the broker's own errors
are told in them.

Amazon SQS API Reference, "Errors" of each action; wording as observed by users of SQS.
"""

from __future__ import annotations

from broker.base import errors
from broker.base.errors import BrokerError, Refusal
from broker.edge.aws.contract import AwsError, Context
from broker.edge.aws.sqs.names import QueueName

_PREFIX = "AWS.SimpleQueueService."


def invalid_parameter(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, 400, "InvalidParameterValue")


def invalid_value(value: object, parameter: str, reason: str) -> AwsError:
    return invalid_parameter(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> AwsError:
    message = f"The request must contain the parameter {name}."
    return AwsError("MissingRequiredParameterException", message, 400, "MissingParameter")


def unknown_attribute(name: str) -> AwsError:
    return AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def invalid_attribute(name: str, reason: str = "") -> AwsError:
    more = f" Reason: {reason}" if reason else ""
    return AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.{more}")


def no_such_queue(context: Context) -> AwsError:
    message = "The specified queue does not exist"
    message += "." if context.protocol == "json" else " for this wsdl version."
    return AwsError("QueueDoesNotExist", message, 400, _PREFIX + "NonExistentQueue")


def queue_exists(attribute: str) -> AwsError:
    message = f"A queue already exists with the same name and a different value for attribute {attribute}"
    return AwsError("QueueNameExists", message, 400, "QueueAlreadyExists")


def resource_not_found(message: str) -> AwsError:
    return AwsError("ResourceNotFoundException", message, 404)


def unsupported(message: str) -> AwsError:
    return AwsError("UnsupportedOperation", message, 400, _PREFIX + "UnsupportedOperation")


def invalid_contents() -> AwsError:
    return AwsError(
        "InvalidMessageContents",
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
        "#x10000 to #x10FFFF",
    )


def too_long(limit: int) -> AwsError:
    return invalid_parameter(f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.")


def over_limit(message: str) -> AwsError:
    return AwsError("OverLimit", message, 403)


def purge_in_progress(name: str) -> AwsError:
    message = f"Only one PurgeQueue operation on {name} is allowed every 60 seconds."
    return AwsError("PurgeQueueInProgress", message, 403, _PREFIX + "PurgeQueueInProgress")


def empty_batch(entry: str) -> AwsError:
    message = f"There should be at least one {entry} in the request."
    return AwsError("EmptyBatchRequest", message, 400, _PREFIX + "EmptyBatchRequest")


def too_many_entries(limit: int, sent: int) -> AwsError:
    message = f"Maximum number of entries per request are {limit}. You have sent {sent}."
    return AwsError("TooManyEntriesInBatchRequest", message, 400, _PREFIX + "TooManyEntriesInBatchRequest")


def invalid_entry_id() -> AwsError:
    message = (
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
        "It can be at most 80 letters long."
    )
    return AwsError("InvalidBatchEntryId", message, 400, _PREFIX + "InvalidBatchEntryId")


def repeated_entry_id(identity: str) -> AwsError:
    return AwsError("BatchEntryIdsNotDistinct", f"Id {identity} repeated.", 400, _PREFIX + "BatchEntryIdsNotDistinct")


def batch_too_long(limit: int, sent: int) -> AwsError:
    message = f"Batch requests cannot be longer than {limit} bytes. You have sent {sent} bytes."
    return AwsError("BatchRequestTooLong", message, 400, _PREFIX + "BatchRequestTooLong")


def not_for_this_type(value: object, parameter: str) -> AwsError:
    return invalid_value(value, parameter, "The request include parameter that is not valid for this queue type.")


def deduplication_missing() -> AwsError:
    return invalid_parameter(
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
    )


def handle_invalid(handle: str, context: Context) -> AwsError:
    status = 400 if context.protocol == "json" else 404
    return AwsError(
        "ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.', status
    )


def handle_expired(handle: str) -> AwsError:
    return invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")


def not_in_flight(handle: str) -> AwsError:
    return invalid_value(
        handle, "ReceiptHandle", "Message does not exist or is not available for visibility timeout change."
    )


def to_aws(error: BrokerError, context: Context, queue: QueueName | None = None) -> AwsError:
    """What has no wording of its own keeps the broker's, which names the limit and what to do."""
    if isinstance(error, errors.QueueNotFound) or (isinstance(error, errors.InvalidName) and queue is not None):
        return no_such_queue(context)
    if isinstance(error, errors.PurgeInProgress):
        return purge_in_progress(queue.name if queue is not None else "the queue")
    if isinstance(error, errors.OverLimit):
        return over_limit(str(error))
    if isinstance(error, errors.DeduplicationIdRequired):
        return deduplication_missing()
    if isinstance(error, errors.MessageGroupRequired):
        return missing_parameter("MessageGroupId")
    if isinstance(error, errors.Overloaded):
        return AwsError("RequestThrottled", str(error), 503, sender_fault=False)
    if isinstance(error, errors.ServiceError | errors.Conflict):  # SDKs repeat what is answered with this status
        return AwsError("ServiceUnavailable", str(error), 503)
    if error.caller_fault:
        return invalid_parameter(str(error))
    return AwsError("InternalFailure", str(error), 500)


def of_refusal(refusal: Refusal, context: Context, queue: QueueName) -> AwsError:
    return to_aws(refusal.to_error(), context, queue)
