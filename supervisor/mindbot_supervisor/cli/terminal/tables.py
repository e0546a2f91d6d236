"""Tables: by rich on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from mindbot_config.output.printable import printable
from mindbot_supervisor.cli.terminal import output

if TYPE_CHECKING:
    from rich.table import Table

Row = Sequence[str]
GAP = 2
"""Blanks between two columns of plain text."""
NOTE_MIN = 16
"""Columns of a terminal that the last column needs; where there are fewer, its texts stand below the table."""
WIDEST = 32
"""Columns from which on a cell is folded on a terminal, and pushes only its own row in plain text."""


def show(
    titles: Row, rows: Sequence[Row], *, numbers: Collection[int] = (), styles: Mapping[str, str] | None = None
) -> None:
    """Print the table. The columns of `numbers` stand to the right; `styles` is the style of cells by their text."""
    if not output.on_terminal():
        output.say(*plain([titles, *rows]))
        return
    from rich.console import Console

    console = Console()
    left = console.width - sum(min(width, WIDEST) + 1 for width in _widths([titles, *rows])[:-1])
    if left < 0:
        output.say(*plain([titles, *rows]))
    elif left < NOTE_MIN:
        console.print(_rich(titles[:-1], [row[:-1] for row in rows], numbers, styles or {}))
        output.say(*(f"{row[0]}: {row[-1]}" for row in rows if row[-1]))
    else:
        console.print(_rich(titles, rows, numbers, styles or {}))


def plain(rows: Sequence[Row]) -> list[str]:
    """The rows with aligned columns."""
    widths = [min(width, WIDEST) for width in _widths(rows)]
    padded = ([printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return [(" " * GAP).join(row).rstrip() for row in padded]


def _widths(rows: Sequence[Row]) -> list[int]:
    return [max(len(printable(cell)) for cell in column) for column in zip(*rows, strict=True)]


def _rich(titles: Row, rows: Sequence[Row], numbers: Collection[int], styles: Mapping[str, str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for at, (title, width) in enumerate(zip(titles, _widths([titles, *rows]), strict=True)):
        justify, fits = "right" if at in numbers else "left", width <= WIDEST
        table.add_column(title, justify=justify, no_wrap=fits, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell), style=styles.get(cell, "")) for cell in row))
    return table
