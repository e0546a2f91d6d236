"""Tables: by rich on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from mindbot_config.shown_text import shown

from . import output

if TYPE_CHECKING:
    from rich.table import Table

Row = Sequence[str]
GAP = 2
"""Blanks between two columns of plain text."""


def show(
    titles: Row, rows: Sequence[Row], *, numbers: Collection[int] = (), styles: Mapping[str, str] | None = None
) -> None:
    """Print the table. The columns of `numbers` stand to the right; `styles` is the style of cells by their text."""
    if not output.on_terminal():
        output.say(*plain([titles, *rows]))
        return
    from rich.console import Console

    Console().print(_rich(titles, rows, numbers, styles or {}))


def plain(rows: Sequence[Row], widest: int | None = None) -> list[str]:
    """The rows with aligned columns; a cell longer than `widest` pushes only its own row."""
    safe = [[shown(cell) for cell in row] for row in rows]
    count = len(safe[0]) if safe else 0
    widths = [max(min(len(row[at]), widest or len(row[at])) for row in safe) for at in range(count)]
    return [
        (" " * GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in safe
    ]


def _rich(titles: Row, rows: Sequence[Row], numbers: Collection[int], styles: Mapping[str, str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    last = len(titles) - 1
    for at, title in enumerate(titles):
        table.add_column(title, justify="right" if at in numbers else "left", no_wrap=at != last, overflow="fold")
    for row in rows:
        safe = [shown(cell) for cell in row]
        table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in safe))
    return table
