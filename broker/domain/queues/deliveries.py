"""What may still be done with a delivery, and the exact refusal when it may not."""

from __future__ import annotations

from broker.base.errors import BrokerError, InvalidArgument, ReceiptHandleExpired, ReceiptHandleInvalid
from broker.base.limits import MAX_VISIBILITY_TIMEOUT
from broker.domain.queues.model import Handle
from broker.domain.queues.visibility import Batch


def check_change(handle: Handle, batch: Batch | None, timeout: int, at: int) -> BrokerError | None:
    """Whether the handle may hide its message for ``timeout`` ms from ``at``; ``batch`` holds the message now."""
    if not 0 <= timeout <= MAX_VISIBILITY_TIMEOUT:
        return InvalidArgument(
            f"a visibility timeout of {timeout} ms is out of range: use 0 to {MAX_VISIBILITY_TIMEOUT} ms"
        )
    if batch is None or batch.receipt != handle.receipt:
        return not_in_flight(handle)
    total = at + timeout - batch.received_at
    if total > MAX_VISIBILITY_TIMEOUT:
        return InvalidArgument(
            f"the message would be invisible for {total} ms since it was received, the limit is "
            f"{MAX_VISIBILITY_TIMEOUT} ms: use at most {timeout - total + MAX_VISIBILITY_TIMEOUT} ms"
        )
    return None


def not_in_flight(handle: Handle) -> BrokerError:
    return ReceiptHandleExpired(
        f"this delivery of message {handle.index}/{handle.slot} is over (visible again, received again, or gone): "
        "receive it again to change its visibility"
    )


def never_given(handle: Handle) -> BrokerError:
    return ReceiptHandleInvalid(
        f"no delivery {handle.receipt} of a message {handle.index}/{handle.slot} was ever made: "
        "pass a receipt handle exactly as it was received"
    )
