"""What a queue is to be: created with attributes, and changed later. Its dead-letter queue is found by name, and asked.

This room must not know how a queue comes into being over two groups, nor how its leader changes it.
"""

from __future__ import annotations

import msgspec

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
from broker.services.restriping import Restriping
from broker.services.routing import Routing
from broker.services.targets import Targets
from broker.services.use_cases import UseCase


class Defining:
    def __init__(
        self,
        locator: Locator,
        routing: Routing,
        lifecycle: Lifecycle,
        restriping: Restriping,
        administering: Administering,
        targets: Targets,
    ) -> None:
        self._locator = locator
        self._routing = routing
        self._lifecycle = lifecycle
        self._restriping = restriping
        self._targets = targets
        self._updating = UseCase("queues.update", UpdateRequest, Nothing, administering.update)
        locator.serve(self._updating)

    async def create(self, name: str, changes: AttributeChanges, deadline: Millis, beside: str = "") -> bool:
        """With defaults for what ``changes`` leaves out; whether it is new."""
        check_queue_name(name)
        if beside:
            check_queue_name(beside)
        attributes = changes.applied_to(QueueAttributes())
        check_queue_attributes(attributes)
        check_attributes_fit(name, attributes)
        target = None
        if attributes.redrive is not None:
            if await self._lifecycle.exists(name, attributes, deadline, changes.stripes, beside):
                return False  # whatever has become of its dead-letter queue since
            target = await self._target(name, attributes.redrive, deadline)
        return await self._lifecycle.create(name, attributes, target, deadline, changes.stripes, beside)

    async def update(self, name: str, changes: AttributeChanges, deadline: Millis, request: RequestId | None) -> None:
        check_queue_name(name)
        alone = msgspec.structs.replace(changes, kept_before=None)  # that is for the leader to compare
        check_queue_attributes(alone.applied_to(QueueAttributes()))
        target = None
        if changes.redrive is not None:
            target = await self._target(name, changes.redrive, deadline)

        others = msgspec.structs.replace(changes, stripes=None)
        if changes.stripes is not None:
            if others != AttributeChanges():
                await self._must_fit(name, changes, deadline)
            await self._restriping.restripe(name, changes.stripes, deadline)
            if others == AttributeChanges():
                return

        def make(queue: QueueId, own: RequestId) -> UpdateRequest:
            return UpdateRequest(queue, others, own, target)

        async def tell_home() -> None:
            await self._routing.once(name, self._updating, make, deadline, request)

        await self._restriping.tell(name, tell_home, deadline)

    async def _must_fit(self, name: str, changes: AttributeChanges, deadline: Millis) -> None:
        """Before the first of several steps is taken. Raises as ``update``."""
        found = await self._routing.on_queue(name, self._lifecycle.describing, DescribeRequest, deadline)
        attributes = changes.applied_to(found.queue.attributes)
        check_queue_attributes(attributes)
        check_attributes_fit(name, attributes)

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
