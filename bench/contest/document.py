"""docs/benchmarks.md and the README's table, from what the benches found out last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from contest import ROOT, table
from contest.report import CIRCUS, EXEC, OURS, PLAIN, SUPERVISORD, Cell, Report

DOCUMENT = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"

COLUMNS = {
    OURS: "mindbot-supervisor",
    EXEC: 'with `launcher = "exec"`',
    PLAIN: "plain",
    SUPERVISORD: "supervisord",
    CIRCUS: "circus",
}

INTRODUCTION = """\
# Benchmarks

Made by `make bench`; do not edit. Each table is one run in which the contestants took turns on the same machine.
A cell is the median (least–most), then its ratio to the row that the notes name; n is the number of samples.

- **mindbot-supervisor** is this project with its default settings, except where a note says so.
- **plain** is the program itself, restarted at once by the smallest supervisor there can be (fork, exec, waitpid:
  `bench/contest/programs/bare.c`). It is the floor for anything that executes a program anew, systemd included.
- **supervisord** and **circus** are the versions pinned in `bench/contest/peers.py`, with their default settings,
  except where a note says so. Their memory monitoring looks once a minute by default; the tables (e) and (g) have it
  every 5 s too, the shortest that supervisord offers, and that is what the README shows.
"""


def write(reports: Sequence[Report], document: Path = DOCUMENT, readme: Path = README) -> None:
    document.parent.mkdir(exist_ok=True)
    document.write_text("\n".join([INTRODUCTION, *map(section, reports)]))
    readme.write_text(replaced(readme.read_text(), summary(reports)))


def section(report: Report) -> str:
    label = next((row.label for row in report.rows if row.key == report.base), "")
    notes = [f"Ratios refer to: {label}."] if label else []
    listed = "\n".join(f"- {note}" for note in [*notes, *report.notes, report.host])
    return f"## {report.title}\n\n{table.of(report)}\n\n{listed}\n"


def summary(reports: Sequence[Report]) -> str:
    """The medians of the headlines, a column for each contestant that took part."""
    keys = [key for key in COLUMNS if any(row.key == key for report in reports for row in report.rows)]
    lines = [
        [words, *(_median(report, key, column) for key in keys)]
        for report in reports
        for column, words in report.headline.items()
    ]
    return table.markdown(["median", *(COLUMNS[key] for key in keys)], lines)


def _median(report: Report, key: str, column: str) -> str:
    cell: Cell = next((row.cells[report.columns.index(column)] for row in report.rows if row.key == key), "")
    if isinstance(cell, str):
        return cell or "–"
    text = table.number(median(cell))
    return f"**{text}**" if key == OURS else text


def replaced(text: str, content: str) -> str:
    """The text with its marked place filled anew; unchanged where it has none."""
    return re.sub(f"(?s){re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{content}\n{END}", text)
