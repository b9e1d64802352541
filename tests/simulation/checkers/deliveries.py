"""Who holds a message: one consumer at a time, by one handle; and what a receive hands out is what there is."""

from __future__ import annotations

from broker.domain.queues import commands
from tests.simulation.checkers.model_queue import CANCELLED, DOUBLED, EXPIRED, MOVED, ModelQueue
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation

_BROKEN_BY = {
    CANCELLED: "a cancelled message is never delivered",
    EXPIRED: "nothing is delivered after its life",
    MOVED: "a message is in one place",
    DOUBLED: "a message on its way is neither lost nor doubled",
}
_INVENTED = "no deleted or invented message is delivered"


class NoDoubleDelivery:
    """Two deliveries of a message are separated by the end of its visibility time-out, measured in machine time."""

    name = "no message has two holders"
    early = "nothing is delivered before its time"

    def received(
        self, queue: ModelQueue, command: commands.Receive, reply: commands.Deliveries, index: int, now: int
    ) -> None:
        """What is handed out anew, not again to a receive attempt that is repeated."""
        seen: set[tuple[int, int]] = set()
        for delivery in reply.deliveries:
            key = (delivery.index, delivery.slot)
            held = queue.messages.get(key)
            if held is None:
                fate = queue.fates.get(key, "never sent")
                raise Violation(
                    _BROKEN_BY.get(fate, _INVENTED),
                    f"entry {index} delivered message {key} of {queue.name}, whose fate was: {fate}",
                )
            if held.visible_at > now and not held.receipt:
                raise Violation(
                    self.early,
                    f"entry {index} delivered message {key} of {queue.name} at {now}, but it waits until "
                    f"{held.visible_at} (sent {held.sent_at}, due {held.due})",
                )
            if held.visible_at > now or key in seen:
                raise Violation(
                    self.name,
                    f"entry {index} delivered message {key} of {queue.name} at {now}, but receipt {held.receipt} holds "
                    f"it until {held.visible_at}",
                )
            seen.add(key)
            facts = (delivery.receive_count, delivery.sent_at, delivery.first_received_at, delivery.group)
            expected = (held.receive_count + 1, held.sent_at, held.first_received_at or now, held.group)
            if facts != expected:
                raise Violation(
                    "what is told of a delivery is true",
                    f"message {key} of {queue.name}: receive count, sent, first received and group were told as "
                    f"{facts} and are {expected}",
                )
        offered = len(queue.offered(now))
        if len(reply.deliveries) != min(offered, command.max_messages):
            raise Violation(
                "a receive finds what is visible",
                f"entry {index} asked {queue.name} for {command.max_messages} at {now} and got "
                f"{len(reply.deliveries)}; {offered} were there to be handed out",
            )


class OneValidHandle:
    """Only the handle of the latest delivery has power over a message, and while it holds the message it has it."""

    name = "no two receipt handles are valid"

    def handled(
        self,
        model: QueueModel,
        command: commands.Delete | commands.ChangeVisibility,
        reply: commands.Results,
        index: int,
        now: int,
    ) -> None:
        queue = model.queues[command.queue]
        refused = {position for position, _ in reply.refused}
        gone: set[tuple[int, int]] = set()
        for position, handle in enumerate(command.handles):
            key = (handle.index, handle.slot)
            held = queue.messages.get(key)
            if held is None or key in gone:
                continue
            current = held.receipt == handle.receipt
            if position not in refused and not current:
                raise Violation(
                    self.name,
                    f"entry {index}: a handle with receipt {handle.receipt} had power over message {key} of "
                    f"{queue.name}, whose latest receipt is {held.receipt}",
                )
            if position in refused and current and held.visible_at > now:
                raise Violation(
                    "the holder's handle is valid",
                    f"entry {index}: receipt {handle.receipt} holds message {key} of {queue.name} until "
                    f"{held.visible_at} and was refused at {now}",
                )
            if position not in refused and type(command) is commands.Delete:
                gone.add(key)
