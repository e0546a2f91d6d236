"""Reports as Markdown: medians, min–max and ratios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from contest.report import Cell, Report, Row


def number(value: float) -> str:
    """Three digits that mean something, and no more."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def ratio(cell: Cell, base: Cell) -> str:
    """How many times the base's median; empty where one of them has none, or the base is nothing."""
    if isinstance(cell, str) or isinstance(base, str) or not cell or not base or median(base) == 0:
        return ""
    return f"{number(median(cell) / median(base))}×"


def spread(cell: Cell) -> str:
    """Median and, of several samples, the least and the most."""
    if isinstance(cell, str):
        return cell
    if not cell:
        return "not measured"
    if len(cell) == 1:
        return number(cell[0])
    return f"{number(median(cell))} ({number(min(cell))}–{number(max(cell))})"


def counts(row: Row) -> str:
    """How many samples the row has: one number where all its cells have as many."""
    sizes = sorted({len(cell) for cell in row.cells if not isinstance(cell, str)})
    return "–".join(map(str, [sizes[0], sizes[-1]] if len(sizes) > 1 else sizes))


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def of(report: Report) -> str:
    """The report's table. Ratios refer to its base row, where that took part."""
    base = next((row for row in report.rows if row.key == report.base), None)
    body = [[row.label, *cells(row, base), counts(row)] for row in report.rows]
    return markdown(["", *report.columns, "n"], body)


def cells(row: Row, base: Row | None) -> list[str]:
    bases: Sequence[Cell] = base.cells if base is not None else [""] * len(row.cells)
    pairs = [(spread(cell), ratio(cell, other)) for cell, other in zip(row.cells, bases, strict=True)]
    return [f"{text} · {times}" if times else text for text, times in pairs]
