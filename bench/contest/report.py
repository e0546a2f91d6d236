"""What a bench found out: the samples of each contestant under each condition. Kept as JSON between runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from contest import TOOLS

RESULTS = TOOLS / "bench"

OURS, EXEC, PLAIN, SUPERVISORD, CIRCUS = "ours", "exec", "plain", "supervisord", "circus"
"""Contestants that the README compares; a bench may have more rows than these."""

Cell = list[float] | str
"""Samples, or in words why there are none."""


@dataclass(slots=True)
class Row:
    """One contestant: its key, its name for people, and a cell for each column."""

    key: str
    label: str
    cells: list[Cell]

    def add(self, column: int, sample: float) -> None:
        cell = self.cells[column]
        if isinstance(cell, str):
            cell = self.cells[column] = []
        cell.append(sample)


@dataclass(slots=True)
class Report:
    """One bench. Columns name their unit; `base` is the key of the row that ratios refer to."""

    name: str
    title: str
    columns: list[str]
    base: str = PLAIN
    headline: dict[str, str] = field(default_factory=dict)
    """The columns that the README shows, with its words for them."""
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    host: str = ""

    def row(self, key: str, label: str) -> Row:
        """The row of this contestant, made where there is none yet."""
        for row in self.rows:
            if row.key == key:
                return row
        self.rows.append(Row(key, label, ["not measured" for _ in self.columns]))
        return self.rows[-1]

    def add(self, key: str, label: str, sample: float, column: int = 0) -> None:
        self.row(key, label).add(column, sample)

    def save(self, folder: Path = RESULTS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(name: str, folder: Path = RESULTS) -> Report | None:
    """What this bench found out last; None if it did not, or kept it as another version of this file has it."""
    try:
        found = json.loads((folder / f"{name}.json").read_text())
        return Report(**{**found, "rows": [Row(**row) for row in found["rows"]]})
    except (OSError, TypeError):
        return None


def loaded(names: Iterable[str], folder: Path = RESULTS) -> list[Report]:
    return [report for name in names if (report := load(name, folder)) is not None]
