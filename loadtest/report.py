"""What a run shows in the terminal: rates, latencies as numbers and as a picture, processor time, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.latency import PERCENTILES, Bucket, Latencies
from loadtest.verifier import Verdict

_BAR_WIDTH = 50
_EIGHTHS = " ▏▎▍▌▋▊▉"


def duration(micros: float) -> str:
    """Microseconds as a person reads them: 870 us, 1.52 ms, 12.3 s."""
    for limit, unit, size in ((1_000, "us", 1), (1_000_000, "ms", 1_000)):
        if micros < limit:
            value = micros / size
            return f"{value:.0f} {unit}" if size == 1 or value >= 100 else f"{value:.3g} {unit}"
    return f"{micros / 1_000_000:.3g} s"


def percentile_name(percentile: float) -> str:
    return "max" if percentile == 100 else f"p{percentile:g}"


def latency_table(title: str, columns: Mapping[str, Latencies]) -> Table:
    """Percentiles as rows, so that it fits into any terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    table.add_row("messages", *(f"{len(latencies):,}" for latencies in columns.values()))
    found = [latencies.percentiles() for latencies in columns.values()]
    for percentile in PERCENTILES:
        cells = (duration(each[percentile]) if each else "-" for each in found)
        table.add_row(percentile_name(percentile), *cells)
    return table


def bar(share: float, width: int = _BAR_WIDTH) -> str:
    """A bar of ``share`` (0-1) of the width, in eighths of a character; anything above 0 is seen."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def latency_picture(title: str, buckets: Sequence[Bucket]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column(justify="left")
    table.add_column(justify="right")
    most = max((bucket.count for bucket in buckets), default=0)
    for bucket in buckets:
        share = bucket.count / most
        table.add_row(f"{duration(bucket.low)} - {duration(bucket.high)}", bar(share), f"{bucket.count:,}")
    return table


def cpu_table(used: Mapping[str, int], messages: int) -> Table:
    """``used``: CPU microseconds of each broker process while the ``messages`` went through."""
    table = Table(title=f"CPU of the brokers, {messages:,} messages", title_justify="left")
    for name in ("process", "seconds", "us per message"):
        table.add_column(name, justify="left" if name == "process" else "right")
    for name, micros in used.items():
        table.add_row(name, f"{micros / 1_000_000:.2f}", f"{micros / max(messages, 1):.1f}")
    total = sum(used.values())
    table.add_section()
    table.add_row("all", f"{total / 1_000_000:.2f}", f"{total / max(messages, 1):.1f}")
    return table


def verdict_table(verdict: Verdict, extra: Mapping[str, str]) -> Table:
    table = Table(title="Verdict", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("sent", "confirmed", "failed", "received", "lost", "duplicated", "reordered", "unconfirmed"):
        count = getattr(verdict, name)
        style = "bold red" if name == "lost" and count else "bold green" if name == "lost" else ""
        table.add_row(name, Text(f"{count:,}", style=style))
    for name, value in extra.items():
        table.add_row(name, value)
    return table


def explain_losses(console: Console, verdict: Verdict) -> None:
    if verdict.lost:
        examples = ", ".join(f"producer {producer} number {sequence}" for producer, sequence in verdict.lost_examples)
        console.print(f"[bold red]{verdict.lost:,} confirmed messages were not received[/], among them {examples}")
