"""Puts the services of a node together. The only place that knows which service needs which."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from broker.base.ids import NodeId
from broker.domain.directory.commands import Group, Node
from broker.replication.groups import Groups
from broker.services.admission import Admission, AdmissionSettings
from broker.services.backup import BackupService
from broker.services.cluster import ClusterService
from broker.services.contents import DEFAULT_CACHE_SIZE, Contents
from broker.services.controller import Controller, ControllerSettings
from broker.services.courier import Courier, CourierSettings
from broker.services.directory import Directory
from broker.services.dwell import DwellTimes
from broker.services.lifecycle import KIND
from broker.services.locating import LocatingSettings, Locator, Pause
from broker.services.queues import QueueService
from broker.services.request_ids import RequestIds
from broker.services.targets import Targets
from broker.services.topology import Topology
from broker.telemetry.metrics import Registry


class ServiceSettings(msgspec.Struct, frozen=True):
    """``cache_size``: bytes of message bodies kept decoded for receivers."""

    admission: AdmissionSettings = AdmissionSettings()
    locating: LocatingSettings = LocatingSettings()
    controller: ControllerSettings = ControllerSettings()
    courier: CourierSettings = CourierSettings()
    cache_size: int = DEFAULT_CACHE_SIZE


class Services(msgspec.Struct, frozen=True):
    """``controller.run()`` and ``courier`` are to be started by the owner; everything else works when called."""

    queues: QueueService
    cluster: ClusterService
    controller: Controller
    courier: Courier
    backup: BackupService
    admission: Admission
    contents: Contents


def assemble(
    groups: Groups,
    cluster: str,
    nodes: tuple[Node, ...],
    first_groups: tuple[Group, ...],
    version: str,
    pause: Pause,
    random_bytes: Callable[[int], bytes],
    settings: ServiceSettings,
    registry: Registry,
) -> Services:
    """The services of the node ``groups.me``, which must be among ``nodes``. ``first_groups``: the groups of a new
    cluster, the directory's included. ``random_bytes``: of a source fit for secrets, such as ``os.urandom``."""
    topology = Topology(cluster, nodes, first_groups)
    locator = Locator(groups, topology, pause, settings.locating)
    request_ids = RequestIds(random_bytes)
    directory = Directory(groups, locator, request_ids)
    admission = Admission(settings.admission)
    contents = Contents(groups, settings.cache_size)
    queues = QueueService(groups, locator, directory, request_ids, admission, contents, DwellTimes(registry))
    controller = Controller(
        groups=groups,
        directory=directory,
        topology=topology,
        me=topology.node(NodeId(groups.me)),
        finish={KIND: queues.finish},
        tend=queues.tend,
        pause=pause,
        settings=settings.controller,
    )
    courier = Courier(groups, locator, Targets(directory), contents, pause, settings.courier, registry)
    return Services(
        queues=queues,
        cluster=ClusterService(groups, locator, directory, version),
        controller=controller,
        courier=courier,
        backup=BackupService(groups, locator, directory, random_bytes),
        admission=admission,
        contents=contents,
    )
