"""What goes wrong before an operation begins or beneath it, in AWS's names. What it refuses it names itself."""

from __future__ import annotations

from broker.base.errors import BrokerError
from broker.edge.aws.contract import AwsError

INTERNAL = "The request processing has failed because of an unknown error, exception or failure."


def internal() -> AwsError:
    return AwsError("InternalFailure", INTERNAL, status=500)


def unavailable(message: str) -> AwsError:
    return AwsError("ServiceUnavailable", message, status=503)


def unknown_operation(message: str = "") -> AwsError:
    """In JSON: the target is not one. Where no operation is named at all, AWS says it with 404."""
    return AwsError("UnknownOperationException", message, status=400 if message else 404)


def invalid_action(action: str, version: str) -> AwsError:
    return AwsError("InvalidAction", f"Could not find operation {action} for version {version}.")


def of(error: BrokerError) -> AwsError:
    """For services that have no table of their own."""
    if error.retryable:
        return unavailable(str(error))
    return AwsError("InvalidParameterValue", str(error)) if error.caller_fault else internal()


def access_denied(message: str) -> AwsError:
    return AwsError("AccessDeniedException", message, status=403, query_code="AccessDenied")
