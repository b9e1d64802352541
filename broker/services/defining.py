"""What a queue is to be: created with attributes, and changed later. Its dead-letter queue is found by name, and asked.

This room must not know how a queue comes into being over two groups, nor how its leader changes it.
"""

from __future__ import annotations

from broker.base.errors import QueueNotFound, RedriveTargetInvalid
from broker.base.ids import QueueId
from broker.base.instants import Millis
from broker.domain.queues.model import QueueAttributes, RedrivePolicy, Target
from broker.domain.queues.validation import (
    check_attributes_fit,
    check_queue_attributes,
    check_queue_name,
    check_redrive_allowed,
    check_redrive_target,
)
from broker.machine.envelope import RequestId
from broker.services.administering import (
    Administering,
    AttributeChanges,
    DescribeRequest,
    Nothing,
    UpdateRequest,
)
from broker.services.lifecycle import Lifecycle
from broker.services.locating import Locator
from broker.services.routing import Routing
from broker.services.targets import Targets
from broker.services.use_cases import UseCase


class Defining:
    def __init__(
        self,
        locator: Locator,
        routing: Routing,
        lifecycle: Lifecycle,
        administering: Administering,
        targets: Targets,
    ) -> None:
        self._locator = locator
        self._routing = routing
        self._lifecycle = lifecycle
        self._targets = targets
        self._updating = UseCase("queues.update", UpdateRequest, Nothing, administering.update)
        locator.serve(self._updating)

    async def create(self, name: str, changes: AttributeChanges, deadline: Millis) -> bool:
        """With defaults for what ``changes`` leaves out; whether it is new."""
        check_queue_name(name)
        attributes = changes.applied_to(QueueAttributes())
        check_queue_attributes(attributes)
        check_attributes_fit(name, attributes)
        target = None
        if attributes.redrive is not None:
            if await self._lifecycle.exists(name, attributes, deadline):
                return False  # whatever has become of its dead-letter queue since
            target = await self._target(name, attributes.redrive, deadline)
        return await self._lifecycle.create(name, attributes, target, deadline)

    async def update(self, name: str, changes: AttributeChanges, deadline: Millis, request: RequestId | None) -> None:
        check_queue_attributes(changes.applied_to(QueueAttributes()))
        target = None
        if changes.redrive is not None:
            check_queue_name(name)
            target = await self._target(name, changes.redrive, deadline)

        def make(queue: QueueId, own: RequestId) -> UpdateRequest:
            return UpdateRequest(queue, changes, own, target)

        await self._routing.once(name, self._updating, make, deadline, request)

    async def _target(self, source: str, policy: RedrivePolicy, deadline: Millis) -> Target:
        """Raises RedriveTargetInvalid, RedriveNotAllowed."""
        check_redrive_target(source, policy.target)
        target = await self._targets.find(policy.target, deadline)
        if target is None:
            raise _no_such_target(source, policy.target)
        question = DescribeRequest(target.id)
        try:
            found = await self._locator.on_leader(target.groups[0], self._lifecycle.describing, question, deadline)
        except QueueNotFound:
            raise _no_such_target(source, policy.target) from None
        check_redrive_allowed(source, policy.target, found.queue.attributes.redrive_allow)
        return target


def _no_such_target(source: str, target: str) -> RedriveTargetInvalid:
    return RedriveTargetInvalid(f"the dead-letter queue {target!r} of queue {source!r} does not exist: create it first")
