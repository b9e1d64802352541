"""One seed from beginning to verdict: build the cluster, let it suffer, heal it, drain it, judge it."""

from __future__ import annotations

import gc
import signal
import traceback
from collections.abc import Callable
from itertools import combinations

import msgspec

from broker.base.ids import GroupId
from broker.base.instants import Millis
from broker.raft.types import RaftConfig
from broker.replication.replica import ReplicaSettings
from broker.storage.settings import StorageSettings
from tests.simulation import courier, healing, load, rates
from tests.simulation.checkers.recovery import Recovery
from tests.simulation.checkers.violation import Violation
from tests.simulation.client import Client
from tests.simulation.clock import EPOCH
from tests.simulation.cluster import Cluster, Layout, draw_names
from tests.simulation.courier import CarryingSettings, Roads
from tests.simulation.court import Court
from tests.simulation.drive import Drive
from tests.simulation.faults import FaultSchedule
from tests.simulation.healing import HealingSettings
from tests.simulation.logs import ReplicaLog
from tests.simulation.machines import machine_of
from tests.simulation.network import Network
from tests.simulation.node import SimulatedNode
from tests.simulation.rates import Rates
from tests.simulation.states import States
from tests.simulation.wholeness import Wholeness
from tests.simulation.workload import Workload
from tests.simulation.world import MILLISECOND, SECOND, World

CLIENTS = 4
_LOG_CHECK_EVERY = 5 * SECOND
_RECOVERY_STEP = 250 * MILLISECOND


class Outcome(msgspec.Struct):
    """What became of a seed. ``checker`` is empty when every promise was kept."""

    seed: int
    simulated: int
    """Microseconds of virtual time."""
    counts: dict[str, int]
    trace_hash: str
    checker: str = ""
    story: str = ""
    met: dict[tuple[str, str], int] = {}
    """How often a fault found a call, or a state, under way."""


class Plan(msgspec.Struct, frozen=True):
    """What a seed draws, unless a test asks for something else."""

    rates: Rates
    load: load.Load
    raft: RaftConfig
    replica: ReplicaSettings
    storage: StorageSettings
    carrying: CarryingSettings
    healing: HealingSettings
    nodes: tuple[str, ...]
    groups: int
    duration: int


def draw_plan(world: World, duration: int) -> Plan:
    chance = world.chance("plan")
    shortest, longest = chance.choice(((700, 1_200), (300, 600), (250, 2_000)))
    drawn = rates.draw(world.chance("rates"))
    return Plan(
        rates=drawn,
        load=load.draw(world.chance("load"), leaps=drawn.leap_at is not None),
        raft=RaftConfig(
            heartbeat_interval=Millis(50 if shortest < 500 else 100),
            election_timeout_min=Millis(shortest),
            election_timeout_max=Millis(longest),
            lease_reads=drawn.drift == 0 and chance.random() < 0.5,  # only sound while clock rates agree
            max_append_bytes=chance.choice((2_000, 64_000, 1_048_576)),
            max_inflight_appends=chance.choice((1, 4, 64)),
        ),
        replica=ReplicaSettings(
            apply_slice=chance.choice((1, 8, 256)),
            snapshot_after_entries=chance.choice((20, 60, 200)),
            keep_behind_snapshot=chance.choice((0, 5, 40)),
            tick_spacing=Millis(chance.choice((10, 100))),
        ),
        storage=StorageSettings(
            segment_bytes=chance.choice((8_192, 32_768, 262_144)),
            cache_bytes=chance.choice((0, 10_000, 1_000_000)),
            spare_segments=chance.choice((0, 1, 2)),
            open_segments=chance.choice((1, 8)),
        ),
        carrying=courier.draw_settings(world.chance("carrying")),
        healing=healing.draw_settings(world.chance("healing")),
        nodes=draw_names(world.chance("nodes")),
        groups=3,
        duration=duration,
    )


class Simulation:
    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.court = Court(world)
        self.network = network = Network(world, plan.rates)
        self.roads = roads = Roads(world, plan.rates, network, plan.carrying)
        layout = Layout(plan.nodes, plan.groups)
        cluster = Cluster(
            world,
            plan.rates,
            network,
            roads,
            self.court,
            layout,
            plan.raft,
            plan.replica,
            plan.healing,
            machine_of,
        )
        self.nodes = [SimulatedNode(name, cluster, Drive(name, world, plan.rates, plan.storage)) for name in plan.nodes]
        self.wholeness = Wholeness(self.nodes, [group.id for group in layout.groups])
        for node in self.nodes:
            network.join(node)
            cluster.bulk.join(node)
            roads.join(node)
        self.clients = [
            Client(f"client-{number}", world, plan.rates, self.court, self.nodes) for number in range(CLIENTS)
        ]
        world.states = States(self.nodes, self.court, self.wholeness).now
        self.workload = Workload(world, self.court, self.clients, plan.load, layout)
        self.faults = FaultSchedule(world, plan.rates, list(self.nodes), network, self.wholeness.safe)
        if plan.rates.honest_clocks:
            clock = self.nodes[0].clock
            self.court.log_time.true_time = lambda: EPOCH + clock.leaped + world.now // MILLISECOND
        for node in self.nodes:
            node.died = self.faults.died
        roads.strike = self.faults.strike
        roads.strike_forming = self.faults.strike_forming

    def run(self) -> None:
        """Raises Violation, or whatever a node raised."""
        for node in self.nodes:
            node.start()
        self.faults.begin()
        self.workload.begin()
        self.world.after(_LOG_CHECK_EVERY, self._check_logs)
        self.world.run_until(self.plan.duration)
        self.faults.heal()
        self.roads.behave()
        for client in self.clients:
            client.behave()
        self._until("not every group has a leader that serves", self._without_leader)
        self.workload.end()
        self._until("requests are unanswered", self._unanswered)
        self._until("queues are not empty", self._undrained)
        self.court.conservation.all_drained()
        self.court.judge.journeys.all_ended(self.court.judge.models)
        self.court.directory.judge()
        self._until("replicas are missing", self.wholeness.missing, self.court.healing)
        self._until("replicas differ", self._apart)
        self._compare(with_data=True)
        for node in self.nodes:
            self.court.log_time.believed(node.name, node.time.wall())
        for node in self.nodes:
            for replica in node.running.replicas.values():
                replica.machine.compare()

    def _until(self, missing: str, what: Callable[[], str], checker: Recovery | None = None) -> None:
        begun = self.world.now
        while details := what():
            (checker or self.court.recovery).recovered(begun, self.world.now, f"{missing}: {details}")
            self.world.run_until(self.world.now + _RECOVERY_STEP)

    def _without_leader(self) -> str:
        return ", ".join(
            f"group {group}" for group in self.wholeness.groups if not any(node.leads(group) for node in self.nodes)
        )

    def _unanswered(self) -> str:
        return ", ".join(f"{client.name} {client.open}" for client in self.clients if client.open)

    def _undrained(self) -> str:
        """What is taken out of one queue may have come to another meanwhile."""
        left = self._unanswered()
        if not left and (left := self.court.left()):
            self.workload.drain()
        return left

    def _apart(self) -> str:
        behind = []
        for group in self.wholeness.groups:
            applied = {node.name: node.running.replicas[group].applied for node in self._holding(group)}
            if len(set(applied.values())) > 1:
                behind.append(f"group {group} {applied}")
        return ", ".join(behind)

    def _holding(self, group: GroupId) -> list[SimulatedNode]:
        return [node for node in self.nodes if node.up and group in node.running.replicas]

    def _check_logs(self) -> None:
        self._compare(with_data=False)
        self.world.after(_LOG_CHECK_EVERY, self._check_logs)

    def _compare(self, with_data: bool) -> None:
        for group in self.wholeness.groups:
            holding = self._holding(group)
            logs = [ReplicaLog(node.name, node.running.replicas[group].raft, node.store, group) for node in holding]
            for a, b in combinations(logs, 2):
                self.court.logs.compare(group, a, b, with_data)


def begin_work() -> None:
    """In a process that is to run seeds: Ctrl-C is left to the one that started it, and a quarter of the time is not
    spent on looking for garbage in what was imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run_seed(
    seed: int,
    duration: int = 20 * SECOND,
    tell: Callable[[str], None] | None = None,
    adjust: Callable[[Plan], Plan] = lambda plan: plan,
) -> Outcome:
    """``duration`` in microseconds, before healing. A crash of the code under test counts as a violation."""
    world = World(seed, tell)
    checker = story = ""
    simulation = Simulation(world, adjust(draw_plan(world, duration)))
    try:
        simulation.run()
    except Violation as violation:
        checker, story = violation.checker, violation.story
    except Exception as error:  # any exception of a node is a finding, to be told with its seed
        checker, story = f"no node crashes ({type(error).__name__})", traceback.format_exc(limit=-8)
    world.counts["messages delivered"] += simulation.court.conservation.deliveries
    world.counts["dumps compared"] += simulation.court.machines.compared
    world.counts["counts compared"] += simulation.court.judge.counts.compared
    world.counts["calls of the directory compared"] += simulation.court.directory.checked
    world.counts["stamps compared"] += simulation.court.log_time.checked
    world.counts["pages compared"] += simulation.court.judge.places.browsed
    return Outcome(seed, world.now, dict(world.counts), world.trace_hash(), checker, story, dict(world.met))
