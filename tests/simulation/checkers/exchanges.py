"""To send here and to delete there in one call: both or neither."""

from __future__ import annotations

from broker.base.errors import ReceiptHandleExpired
from broker.domain.queues import commands
from tests.simulation.checkers.queue_model import QueueModel
from tests.simulation.checkers.violation import Violation


class BothOrNeither:
    name = "an exchange does both or neither"

    def exchanged(self, model: QueueModel, command: commands.Exchange, reply: object, index: int) -> None:
        source = model.queues.get(command.delete.queue)
        if source is None:
            return
        held = [source.messages.get((each.index, each.slot)) for each in command.delete.handles]
        valid = all(
            message is not None and message.receipt == handle.receipt and handle.receipt > 0
            for message, handle in zip(held, command.delete.handles, strict=True)
        )
        refused = type(reply) is commands.Refused and reply.refusal.code == ReceiptHandleExpired.code
        if type(reply) is commands.Sent and not valid:
            raise Violation(
                self.name,
                f"entry {index} sent {command.send.count} messages although the handles {command.delete.handles} do "
                f"not all hold a message of {source.name}: {held}",
            )
        if refused and valid:
            raise Violation(
                self.name,
                f"entry {index} was refused although all handles {command.delete.handles} hold a message of "
                f"{source.name}",
            )
