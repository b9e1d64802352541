"""A backup is checked: whole files of states that do not fit together are found, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.base.errors import DataCorrupt
from broker.base.ids import DIRECTORY_GROUP, GroupId, QueueId
from broker.base.instants import WallMillis
from broker.domain.directory.commands import PlaceResource
from broker.domain.queues.commands import CreateQueue, DeleteQueue
from broker.domain.queues.model import QueueAttributes
from broker.domain.queues.questions import AllQueues
from broker.node.backup_check import check
from broker.services.administering import AttributeChanges
from tests.unit.node.test_restoring import ByCalls, backed_up, fetched
from tests.unit.services.fake_groups import FakeCluster
from tests.unit.services.running import one_node, soon


async def test_a_whole_backup_passes_the_check(tmp_path: Path) -> None:
    await backed_up(tmp_path / "backup")
    assert [file.group for file in check(tmp_path / "backup").manifest.groups] == [0, 1, 2, 3]


@pytest.mark.parametrize("state", ["creating", "unknown"])
async def test_a_queue_that_the_directory_does_not_know_is_remarked_on(tmp_path: Path, state: str) -> None:
    # given a queue in group 1 that is being created, or of which the directory knows nothing
    cluster = FakeCluster()
    services = await one_node(cluster)
    identity = QueueId(99)
    if state == "creating":
        placed = cluster.apply_command(DIRECTORY_GROUP, "directory", PlaceResource("queue", "orders")).reply
        identity = QueueId(placed.resource.id)
    cluster.apply_command(GroupId(1), "queues", CreateQueue(identity, "orders", QueueAttributes()))
    # when a backup is taken and checked
    await fetched(ByCalls(services.backup, cluster), tmp_path)
    remarks = check(tmp_path).remarks
    # then the first is a matter for the controller, and the second is remarked on
    odd = (
        "group-0001.backup holds queue 'orders', which the directory does not know (any more); a restore leaves it out"
    )
    assert remarks == (() if state == "creating" else (odd,))


async def test_a_queue_that_is_only_in_the_directory_is_found(tmp_path: Path) -> None:
    # given a queue over two groups that one of them has lost
    cluster = FakeCluster()
    services = await one_node(cluster)
    await services.queues.create("orders", AttributeChanges(stripes=2), soon(cluster))
    ((queue, _),) = cluster.machines[GroupId(2)].query("queues", AllQueues(), WallMillis(0))
    cluster.apply_command(GroupId(2), "queues", DeleteQueue(queue.queue))
    # when a backup is taken and checked, then it is named
    await fetched(ByCalls(services.backup, cluster), tmp_path)
    with pytest.raises(
        DataCorrupt, match=r"group-0002\.backup .*: queue 'orders' should be in it, as the directory says"
    ):
        check(tmp_path)
