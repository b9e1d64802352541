"""Puts the services of a node together. The only place that knows which service needs which."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from broker.aio.tasks import TaskScope
from broker.base.trouble import Trouble
from broker.domain.directory.commands import Group, Node
from broker.replication.groups import Groups
from broker.services import shared_calls
from broker.services.access_keys import AccessKeys
from broker.services.admission import Admission, AdmissionSettings
from broker.services.backup import BackupService
from broker.services.cluster import ClusterService
from broker.services.contents import DEFAULT_CACHE_SIZE, Contents
from broker.services.controller import Controller, ControllerSettings
from broker.services.courier import Courier, CourierSettings
from broker.services.directory import Directory
from broker.services.dwell import DwellTimes
from broker.services.healing import Healer, HealingSettings
from broker.services.lifecycle import KIND
from broker.services.locating import LocatingSettings, Locator, Pause
from broker.services.membership import MembershipService
from broker.services.orders import Orders
from broker.services.queues import QueueService
from broker.services.request_ids import RequestIds
from broker.services.stepping_back import SteppingBack
from broker.services.targets import Targets
from broker.services.topology import Topology
from broker.telemetry.metrics import Registry


class ServiceSettings(msgspec.Struct, frozen=True):
    """``cache_size``: bytes of message bodies kept decoded for receivers."""

    admission: AdmissionSettings = AdmissionSettings()
    locating: LocatingSettings = LocatingSettings()
    controller: ControllerSettings = ControllerSettings()
    courier: CourierSettings = CourierSettings()
    healing: HealingSettings = HealingSettings()
    cache_size: int = DEFAULT_CACHE_SIZE


class Services(msgspec.Struct, frozen=True):
    """``controller.run()``, ``healer.run()`` and ``courier`` are to be started by the owner; everything else works when
    called. whoever wants to know the cluster's shape listens to ``topology``."""

    queues: QueueService
    cluster: ClusterService
    membership: MembershipService
    controller: Controller
    healer: Healer
    stepping_back: SteppingBack
    topology: Topology
    courier: Courier
    backup: BackupService
    access_keys: AccessKeys
    admission: Admission
    contents: Contents


def assemble(
    groups: Groups,
    cluster: str,
    me: Node,
    nodes: tuple[Node, ...],
    first_groups: tuple[Group, ...],
    version: str,
    pause: Pause,
    random_bytes: Callable[[int], bytes],
    settings: ServiceSettings,
    registry: Registry,
    trouble: Trouble,
    scope: TaskScope,
) -> Services:
    """The services of the node ``groups.me``; ``me`` as it should stand in the directory. ``nodes``, ``first_groups``:
    the cluster as far as it is known, or as it is to be founded, the directory's group included. ``random_bytes``: of a
    source fit for secrets, such as ``os.urandom``. ``trouble``: what is wrong with this node. ``scope``: of calls on
    their way for several callers at once; the owner closes it."""
    topology = Topology(cluster, nodes, first_groups)
    locator = Locator(groups, topology, pause, settings.locating)
    request_ids = RequestIds(random_bytes)
    directory = Directory(groups, locator, request_ids)
    admission = Admission(settings.admission, registry)
    contents = Contents(groups, settings.cache_size)
    queues = QueueService(groups, locator, directory, request_ids, admission, contents, DwellTimes(registry), scope)
    shared_calls.tell(registry, queues.shared.batchings)
    controller = Controller(
        groups=groups,
        directory=directory,
        topology=topology,
        me=me,
        finish={KIND: queues.finish},
        tend=queues.tend,
        pause=pause,
        settings=settings.controller,
    )
    cluster_service = ClusterService(groups, locator, directory, version, trouble)
    orders = Orders(groups, directory)
    healer = Healer(groups, directory, cluster_service, orders, pause, settings.healing, trouble)
    courier = Courier(groups, locator, Targets(directory), contents, pause, settings.courier, registry)
    return Services(
        queues=queues,
        cluster=cluster_service,
        membership=MembershipService(directory, locator, topology, healer, orders),
        controller=controller,
        healer=healer,
        stepping_back=SteppingBack(groups, cluster_service.hand_over, pause),
        topology=topology,
        courier=courier,
        backup=BackupService(groups, locator, directory, random_bytes),
        access_keys=AccessKeys(groups, locator, request_ids, random_bytes),
        admission=admission,
        contents=contents,
    )
