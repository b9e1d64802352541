"""A queue as a picture: how much is in it and how old it is, whose it is, where its dead letters go, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from broker.base.limits import KIB, MAX_IN_FLIGHT, MAX_RETENTION
from broker.cli.bars import bar, stacked
from broker.cli.instants import duration, local_time
from broker.client.model import Census, Move, QueueAttributes, QueueDescription, is_fifo

_WIDTH = 36
"""Characters of the longest bar."""
_LABEL, _NUMBER = 13, 9
"""Characters of the columns before the bars."""
_NAME = 32
_BLOCKS = {"visible": ("█", "green"), "in_flight": ("▓", "yellow"), "delayed": ("░", "blue")}
_NEARLY = 0.8
"""Of a limit: from here on there is a warning."""


class Seen(msgspec.Struct, frozen=True):
    """Everything the picture shows. ``sources``: queues whose dead letters come here. ``dead_letters``: messages in
    this queue's own dead-letter queue, if there is one. ``moves``: newest first."""

    queue: QueueDescription
    census: Census
    sources: list[str]
    moves: list[Move]
    dead_letters: int | None = None


def picture_of(seen: Seen) -> RenderableType:
    parts: list[RenderableType] = [_heading(seen.queue), *_arrow(seen), "", _amounts(seen.queue)]
    if sum(map(sum, seen.census.ages.values())):
        parts += ["", _ages(seen)]
    if seen.census.message_groups:
        parts += ["", _message_groups(seen)]
    parts += ["", _below(seen.queue)]
    warnings = list(_warnings(seen))
    if warnings:
        parts += ["", *warnings]
    return Group(*parts)


# --- above


def _heading(queue: QueueDescription) -> Text:
    kind = "FIFO queue" if is_fifo(queue.name) else "standard queue"
    where = f"group {queue.group}"
    if len(queue.groups) > 1:
        where = f"{len(queue.groups)} stripes in groups {', '.join(map(str, queue.groups))}"
    leader = f"led by {queue.leader}" if queue.leader else "without a leader"
    return Text.assemble((queue.name, "bold"), (f"   {kind}, {where}, {leader}", "dim"))


def _arrow(seen: Seen) -> Iterator[Text]:
    """source -> this queue -> dead-letter queue."""
    redrive = seen.queue.attributes.redrive
    if not seen.sources and redrive is None:
        return
    line = Text()
    if seen.sources:
        more = f" and {len(seen.sources) - 3} more" if len(seen.sources) > 3 else ""
        line.append(", ".join(seen.sources[:3]) + more, style="cyan")
        line.append(" ──dead letters──▶ ", style="red")
    line.append(seen.queue.name, style="bold")
    if redrive is not None:
        often = "once" if redrive.max_receive_count == 1 else f"{redrive.max_receive_count:,} times"
        line.append(f" ──received {often}──▶ ", style="red")
        line.append(redrive.target, style="cyan")
        if seen.dead_letters is not None:
            line.append(f" ({seen.dead_letters:,} there)", style="dim")
    yield line


def _amounts(queue: QueueDescription) -> Table:
    counts = queue.counts
    rows = (
        ("visible", counts.visible, "green"),
        ("in flight", counts.in_flight, "yellow"),
        ("delayed", counts.delayed, "blue"),
        ("moving", counts.moving, "magenta"),
    )
    most = max(count for _, count, _ in rows)
    table = _table(show_header=False)
    table.add_column(min_width=_LABEL, style="bold")
    table.add_column(justify="right", min_width=_NUMBER)
    table.add_column(no_wrap=True, overflow="crop")
    for name, count, style in rows:
        if name != "moving" or count:
            table.add_row(name, f"{count:,}", bar(count, most, _WIDTH, style))
    return table


# --- how old, and whose


def _ages(seen: Seen) -> Table:
    census, oldest = seen.census, seen.queue.counts.oldest_age
    labels = [f"up to {duration(bound)}" for bound in census.age_bounds]
    labels.append(f"over {duration(census.age_bounds[-1])}" if census.age_bounds else "any")
    rows = [[census.ages.get(state, (0,) * len(labels))[place] for state in _BLOCKS] for place in range(len(labels))]
    filled = [place for place, row in enumerate(rows) if sum(row)]
    most = max(map(sum, rows))
    table = _table()
    table.add_column(Text("age", style="bold"), min_width=_LABEL)
    table.add_column(justify="right", min_width=_NUMBER)
    heading = _legend(rows)
    if oldest is not None:
        heading.append(f"oldest {duration(oldest)}", style="dim")
    table.add_column(heading, no_wrap=True, overflow="crop")
    for label, row in list(zip(labels, rows, strict=True))[filled[0] : filled[-1] + 1]:
        drawn = stacked(row, most, _WIDTH, list(_BLOCKS.values()))
        table.add_row(label, f"{sum(row):,}", drawn)
    return table


def _legend(rows: Sequence[Sequence[int]]) -> Text:
    """Only where there is more than one state to tell apart."""
    present = [state for place, state in enumerate(_BLOCKS) if any(row[place] for row in rows)]
    legend = Text()
    if len(present) > 1:
        for state in present:
            block, style = _BLOCKS[state]
            legend.append(f"{block}", style=style)
            legend.append(f" {state.replace('_', ' ')} ", style="dim")
    return legend


def _message_groups(seen: Seen) -> Table:
    groups, count = seen.census.message_groups, seen.queue.counts.message_groups
    most = max(group.waiting + group.in_flight for group in groups)
    table = _table()
    of_all = f"of {count:,} groups" if count > len(groups) else "group"
    table.add_column(Text(of_all, style="bold"), min_width=_LABEL, max_width=_NAME, no_wrap=True)
    table.add_column(Text("waiting", style="dim"), justify="right", min_width=_NUMBER)
    table.add_column(no_wrap=True, overflow="crop")
    table.add_column(Text("in flight", style="dim"), justify="right")
    for group in groups:
        drawn = stacked((group.waiting, group.in_flight), most, _WIDTH, (_BLOCKS["visible"], _BLOCKS["in_flight"]))
        table.add_row(group.name, f"{group.waiting:,}", drawn, f"{group.in_flight:,}" if group.in_flight else "")
    return table


# --- below


def _below(queue: QueueDescription) -> Table:
    table = _table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("in all", _totals(queue))
    table.add_row("set to", " · ".join(_settings(queue)))
    return table


def _totals(queue: QueueDescription) -> str:
    counts = queue.counts
    always = (("sent", counts.sent_total), ("received", counts.received_total), ("deleted", counts.deleted_total))
    sometimes = (
        ("expired", counts.expired_total),
        ("moved away", counts.moved_total),
        ("moved here", counts.arrived_total),
        ("duplicates", counts.duplicates_total),
    )
    shown = [*always, *((name, count) for name, count in sometimes if count)]
    return " · ".join(f"{name} {count:,}" for name, count in shown)


def _settings(queue: QueueDescription) -> Iterator[str]:
    attributes = queue.attributes
    yield f"visibility timeout {_span(attributes.visibility_timeout)}"
    yield f"delay {_span(attributes.delay)}"
    yield f"kept {_span(attributes.retention)}"
    yield f"at most {_size(attributes.message_size_limit)}"
    yield f"receive waits {_span(attributes.receive_wait)}"
    if is_fifo(queue.name):
        yield from _fifo_settings(attributes)
    allow = attributes.redrive_allow
    if allow.permission != "allow_all":
        yield f"dead letters of {', '.join(allow.sources) or 'no queue'} only"


def _fifo_settings(attributes: QueueAttributes) -> Iterator[str]:
    by = "content" if attributes.content_deduplication else "id"
    yield f"deduplicated by {by}, per {attributes.deduplication_scope.replace('_', ' ')}"
    if attributes.throughput_limit == "message_group":
        yield "high throughput"


def _span(seconds: float) -> str:
    """Exact below a minute."""
    return f"{seconds:g} s" if seconds < 60 else duration(seconds)


def _size(count: int) -> str:
    return f"{count // KIB:,} KiB" if count % KIB == 0 else f"{count:,} bytes"


# --- what is wrong, and what goes on


def _warnings(seen: Seen) -> Iterator[Text]:
    queue = seen.queue
    counts, attributes, redrive = queue.counts, queue.attributes, queue.attributes.redrive
    for move in seen.moves[:1]:
        if move.status == "running":
            to = move.destination or "where they came from"
            yield Text(f"▶ moving to {to}: {move.moved:,} of {move.to_move:,} ({move.task})", style="cyan")
        elif move.status == "failed":
            yield _warning(f"the last move failed: {move.failure}", f"broker queue redrive start {queue.name}")
    if not queue.leader:
        yield _warning("nobody leads this queue's group at present", "broker status")
    suspended_until = queue.redrive_suspended_until or 0.0
    if redrive is not None and suspended_until > seen.census.at:
        until = local_time(suspended_until)
        text = f"dead letters stay here until {until}: {redrive.target} did not take them"
        yield _warning(text, f"broker queue show {redrive.target}")
    elif redrive is not None and queue.redrive_target is None:
        text = f"dead letters stay here: there is no queue {redrive.target}"
        yield _warning(text, f"broker queue create {redrive.target}")
    if counts.in_flight >= _NEARLY * MAX_IN_FLIGHT * max(1, len(queue.groups)):
        text = f"{counts.in_flight:,} messages are in flight; beyond {MAX_IN_FLIGHT:,} a group gives out no more"
        yield _warning(text, "delete what is done, or lower the visibility timeout")
    if counts.oldest_age is not None and counts.oldest_age >= _NEARLY * attributes.retention:
        left = duration(max(0.0, attributes.retention - counts.oldest_age))
        longer = min(MAX_RETENTION // 1000, round(attributes.retention * 2))
        remedy = f"receive it, or keep messages longer: broker queue update {queue.name} --retention {longer}"
        yield _warning(f"the oldest message expires in {left}", remedy)


def _warning(text: str, remedy: str) -> Text:
    return Text.assemble((f"⚠ {text}", "bold yellow"), (f"\n  {remedy}", "dim"))


def _table(show_header: bool = True) -> Table:
    return Table(box=None, pad_edge=False, header_style="", show_header=show_header)
