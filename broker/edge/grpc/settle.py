"""One settle request of a Consume stream: acks delete, nacks make visible at once, extensions keep invisible longer,
returns undo the delivery.
"""

from __future__ import annotations

from broker.base.errors import Refusal
from broker.base.instants import Millis
from broker.edge.grpc.errors import entry_errors, info_of
from broker.edge.grpc.streams import Surroundings
from broker.pb.queues.v1 import queues_pb2


async def settle(
    around: Surroundings, queue: str, request: queues_pb2.ConsumeRequest, deadline: Millis
) -> queues_pb2.ConsumeResponse.Settled:
    """The answer, whatever happens. Repeating a request that failed as a whole is safe."""
    settled = queues_pb2.ConsumeResponse.Settled(settle=request.settle)
    failures: list[tuple[int, Refusal]] = []
    try:
        if request.acks:
            failures += await around.queues.delete_messages(queue, request.acks, deadline)
        if request.nacks or request.extensions:
            handles = list(request.nacks)
            timeouts = [Millis(0)] * len(handles)
            for extension in request.extensions:
                handles.append(extension.receipt_handle)
                timeouts.append(Millis(extension.visibility_timeout_ms))
            first = len(request.acks)
            changes = await around.queues.change_visibility(queue, handles, timeouts, deadline)
            failures += [(first + place, refusal) for place, refusal in changes]
        if request.returns:
            first = len(request.acks) + len(request.nacks) + len(request.extensions)
            returned = await around.queues.give_back(queue, request.returns, deadline)
            failures += [(first + place, refusal) for place, refusal in returned]
    except Exception as error:  # is the request's answer
        settled.error.CopyFrom(info_of(around.table.expected(error, "settling")))
    else:
        settled.failed.extend(entry_errors(tuple(failures)))
    return settled
