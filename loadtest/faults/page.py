"""A run as one HTML file that needs nothing else: the matrix, the table, and each cell over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from loadtest.faults.outcome import Outcome
from loadtest.faults.report import COLUMNS, Setting, cells_of, errors_of, matrix_rows, remarks_of, summary_of
from loadtest.faults.timeline import picture

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; color: #1c2128; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .55rem; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #9aa4b1; font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr + tr td { border-top: 1px solid #e6e9ed; }
.state { border-radius: 3px; padding: .05rem .4rem; text-decoration: none; color: inherit; }
.kept { background: #c9efd3; } .doubtful { background: #ffe9a8; } .broken { background: #ffb9b3; font-weight: 700; }
article { margin: 1rem 0; padding: .6rem .9rem; border: 1px solid #d5dae0; border-radius: 6px; }
article h3 { margin: 0 0 .4rem; font-size: 1rem; } article ul { margin: .3rem 0 0; padding-left: 1.2rem; }
svg { width: 100%; max-width: 860px; display: block; } svg text { font-size: 9px; fill: #59636e; }
.sent { fill: #7fb2e5; } .got { fill: none; stroke: #14508c; stroke-width: 1.3; }
.fault { fill: #f3cfc9; } .whole { stroke: #1a7f37; stroke-dasharray: 3 2; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; } dd { margin: 0; } dt { color: #59636e; }
.scroll { overflow-x: auto; }
@media (prefers-color-scheme: dark) {
  body { background: #14181d; color: #d7dde4; } .state { color: #14181d; } article { border-color: #343b44; }
  tr + tr td { border-color: #2a3038; } .got { stroke: #e3f0ff; } .sent { fill: #3a6ea5; } .fault { fill: #57312c; }
}
"""

_LEGEND = (
    "The area is what was acknowledged, the line what was delivered; the shade is the fault, the dashed line when the "
    "cluster was whole again. Lost: acknowledged and never delivered. Twice: one send, two messages. Back: delivered "
    "after its delete was confirmed. Early: delivered again while somebody held it. Again: delivered more than once, "
    "as a visibility timeout that passes explains. Unsure: the sender was told that nobody knows. Gaps in seconds."
)


def page_of(outcomes: Sequence[Outcome], setting: Setting) -> str:
    facts = "".join(f"<dt>{name}</dt><dd>{escape(getattr(setting, name))}</dd>" for name in setting.__struct_fields__)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Faults</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Faults</h1><p>{escape(summary_of(outcomes))}</p><dl>{facts}</dl>"
        f"<h2>Matrix</h2>{_matrix(outcomes)}<h2>Figures</h2>{_figures(outcomes)}"
        f"<h2>Over time</h2><p>{escape(_LEGEND)}</p>{''.join(map(_article, range(len(outcomes)), outcomes))}"
        "</body></html>\n"
    )


def _matrix(outcomes: Sequence[Outcome]) -> str:
    workloads, rows = matrix_rows(outcomes)
    number = {id(outcome): place for place, outcome in enumerate(outcomes)}
    head = "".join(f"<th>{escape(name)}</th>" for name in ("fault", *workloads))

    def cell(outcome: Outcome | None) -> str:
        if outcome is None:
            return "<td>-</td>"
        return f'<td><a class="state {outcome.state}" href="#cell-{number[id(outcome)]}">{outcome.state}</a></td>'

    body = "".join(f"<tr><td>{escape(fault)}</td>{''.join(map(cell, found))}</tr>" for fault, found in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _figures(outcomes: Sequence[Outcome]) -> str:
    head = "".join(
        ("<th>fault</th><th>workload</th>", *(f'<th class="n">{name}</th>' for name in COLUMNS), "<th>errors seen</th>")
    )
    body = "".join(map(_row, outcomes))
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _row(outcome: Outcome) -> str:
    fault, workload, *figures = cells_of(outcome)
    numbers = "".join(f'<td class="n">{escape(figure)}</td>' for figure in figures)
    return (
        f'<tr><td><span class="state {outcome.state}">{escape(fault)}</span></td><td>{escape(workload)}</td>{numbers}'
        f"<td>{escape(errors_of(outcome.verdict))}</td></tr>"
    )


def _article(number: int, outcome: Outcome) -> str:
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in remarks_of(outcome))
    return (
        f'<article id="cell-{number}"><h3><span class="state {outcome.state}">{outcome.state}</span> '
        f"{escape(outcome.fault)} x {escape(outcome.workload)}</h3>{picture(outcome.timeline)}"
        + (f"<ul>{remarks}</ul>" if remarks else "")
        + "</article>"
    )
