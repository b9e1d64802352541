"""Runs one workload, against a given cluster or one of its own, and reports."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from rich.console import Console

from broker.client.client import Client
from loadtest import cpu
from loadtest.cluster import LocalCluster
from loadtest.generator import Generator, PhaseResult
from loadtest.report import cpu_table, explain_losses, latency_picture, latency_table, verdict_table
from loadtest.schedule import NANOSECONDS, measured_interval
from loadtest.verifier import Verdict
from loadtest.workload import Workload

_LEAD_SECONDS = 0.2


class Result(msgspec.Struct, frozen=True):
    """``cpu_us``: of each broker, over the measured phases."""

    verdict: Verdict
    cpu_us: dict[str, int]
    measured_messages: int
    measured_seconds: float


async def run(workload: Workload, target: str | None, folder: Path | None, console: Console) -> bool:
    """Whether nothing was lost. ``target``: addresses of a running cluster; None starts one."""
    async with AsyncExitStack() as stack:
        if target is None:
            cluster = await stack.enter_async_context(LocalCluster(folder))
            target = cluster.addresses
        client = await stack.enter_async_context(Client(target))
        pids = await broker_pids(client)
        await client.create_queue(workload.queue, visibility_timeout=workload.visibility_timeout_seconds)
        console.print(f"{workload.queue}: {len(workload.phases)} phases, {workload.seconds:g} s, against {target}")
        generator = Generator(workload, run_id=secrets.randbits(32))
        result = await _measure(generator, client, pids)
    _report(generator, result, console)
    return result.verdict.lost == 0


async def broker_pids(client: Client) -> dict[str, int]:
    """Node id to process id, of the brokers that run on this machine."""
    nodes = (await client.status()).nodes
    ports = {int(node.admin_address.rpartition(":")[2]): node.id for node in nodes if node.admin_address}
    return {ports[port]: pid for port, pid in sorted(cpu.listening(ports).items(), key=lambda found: ports[found[0]])}


async def _measure(generator: Generator, client: Client, pids: dict[str, int]) -> Result:
    begin, end = measured_interval(generator.workload)
    started = time.monotonic_ns() + round(_LEAD_SECONDS * NANOSECONDS)

    async def used_at(seconds: float) -> dict[str, int]:
        await asyncio.sleep(seconds + (started - time.monotonic_ns()) / NANOSECONDS)
        return cpu.used_by(pids)

    async with asyncio.TaskGroup() as group:
        before = group.create_task(used_at(begin))
        after = group.create_task(used_at(end))
        group.create_task(generator.run(client, started))
    used = {name: after.result()[name] - before.result()[name] for name in after.result()}
    messages = sum(len(result.confirmation) for result, measured in _phases(generator) if measured)
    return Result(generator.verifier.verdict(), used, messages, end - begin)


def _phases(generator: Generator) -> list[tuple[PhaseResult, bool]]:
    return list(zip(generator.phases, (phase.measured for phase in generator.workload.phases), strict=True))


def _report(generator: Generator, result: Result, console: Console) -> None:
    for phase, found in zip(generator.workload.phases, generator.phases, strict=True):
        if phase.measured:
            columns = {"sent late": found.lateness, "confirmed": found.confirmation, "delivered": found.delivery}
            console.print(latency_table(f"{phase.name}: time since a message was due", columns))
            console.print(latency_picture(f"{phase.name}: from due to confirmed", found.confirmation.buckets()))
    if result.cpu_us:
        console.print(cpu_table(result.cpu_us, result.measured_messages))
    else:
        console.print("No broker process was found on this machine: no figures of processor time.")
    rate = result.measured_messages / result.measured_seconds
    extra = {"confirmed per second": f"{rate:,.0f}"}
    if generator.strangers:
        extra["of other runs"] = f"{generator.strangers:,}"
    extra |= {f"failed: {code}": f"{count:,}" for code, count in generator.errors.items()}
    console.print(verdict_table(result.verdict, extra))
    explain_losses(console, result.verdict)
