"""``python -m tests.simulation``: many seeds in parallel, or one of them told step by step."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation import coverage
from tests.simulation.run import Outcome, begin_work, run_seed
from tests.simulation.world import SECOND

_TABLE_WIDTH = 170
"""Of the table of what met what: a line that breaks is better than a column that is missing."""


def main() -> int:
    arguments = _arguments()
    console = Console()
    # Also where SIGINT was ignored, as in the background of a script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.seconds, arguments.trace, console)
    begun = time.monotonic()
    counts: Counter[str] = Counter()
    met: Counter[tuple[str, str]] = Counter()
    failures: list[Outcome] = []
    simulated = done = 0
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    bar = Progress(
        TextColumn("seeds"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("seeds", total=len(seeds), failed=0)
        for outcome in _outcomes(seeds, arguments.seconds, arguments.jobs):
            done += 1
            counts.update(outcome.counts)
            met.update(outcome.met)
            simulated += outcome.simulated
            if outcome.checker:
                failures.append(outcome)
                _tell_failure(outcome, arguments.seconds, console)
            bar.update(task, advance=1, failed=len(failures))
    Console(width=max(console.width, _TABLE_WIDTH)).print(coverage.table(met))
    never = coverage.unmet(met)
    if never:
        console.print(f"never met: {', '.join(never)}", style="yellow")
    if done < len(seeds):
        console.print(f"stopped after {done} of {len(seeds)} seeds", style="yellow")
    _report(console, counts, simulated, done, time.monotonic() - begun, failures)
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description="The whole cluster in virtual time."
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seconds", type=int, default=20, help="virtual seconds of faults per seed, before healing")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell everything that happens")
    return parser.parse_args()


def _one(seed: int, seconds: int, trace: bool, console: Console) -> int:
    outcome = run_seed(seed, seconds * SECOND, tell=print if trace else None)
    for name, count in sorted(outcome.counts.items()):
        console.print(f"{count:>9,}  {name}", highlight=False)
    if outcome.checker:
        _tell_failure(outcome, seconds, console)
        return 1
    console.print(f"seed {seed}: every promise kept in {outcome.simulated / SECOND:.0f} s; trace {outcome.trace_hash}")
    return 0


def _outcomes(seeds: range, seconds: int, jobs: int) -> Iterator[Outcome]:
    """Until all have run, or Ctrl-C."""
    # Spawned, not forked: the progress bar's thread may hold a lock at the moment of a fork.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin_work)
    try:
        yield from pool.map(partial(run_seed, duration=seconds * SECOND), seeds, chunksize=1)
    except KeyboardInterrupt:
        return
    finally:
        pool.shutdown(cancel_futures=True)


def _tell_failure(outcome: Outcome, seconds: int, console: Console) -> None:
    console.print(f"seed {outcome.seed} broke: {outcome.checker}", style="bold red", highlight=False)
    console.print(outcome.story, markup=False, highlight=False)
    console.print(
        f"  python -m tests.simulation --seconds {seconds} --seed {outcome.seed} --trace", style="cyan", highlight=False
    )


def _report(
    console: Console, counts: Counter[str], simulated: int, seeds: int, took: float, failures: list[Outcome]
) -> None:
    table = Table("what", "times", title="what happened")
    for name, count in sorted(counts.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    faults = sum(count for name, count in counts.items() if name.startswith("fault: "))
    console.print(
        f"{seeds} seeds, {simulated / SECOND / 3600:.2f} simulated hours in {took:.0f} s "
        f"({seeds / took:.2f} seeds/s, {simulated / SECOND / took:.0f}x real time): {faults:,} faults, "
        f"{counts['election']:,} elections, {counts['healing: step End']:,} replicas given back or moved",
        highlight=False,
    )
    unreached = coverage.missing(counts)
    if unreached:
        console.print(f"never reached: {', '.join(unreached)}", style="yellow")
    if failures:
        by_checker = Counter(outcome.checker for outcome in failures)
        for checker, count in by_checker.most_common():
            console.print(f"{count} seeds broke: {checker}", style="red", highlight=False)
    else:
        console.print("every promise was kept", style="green")


if __name__ == "__main__":
    sys.exit(main())
