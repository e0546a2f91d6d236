"""The command line that all benches have, and what each does with its report."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from contest import host, table
from contest.report import Report


class Skipped(Exception):
    """The bench cannot run here; the message says what is missing."""


def parser(documentation: str | None, *, rounds: int) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help="samples of each contestant (%(default)s)")
    made.add_argument("--only", default="", help="keys of contestants, with commas: ours,exec,plain,supervisord,circus")
    return made


def wanted(options: argparse.Namespace, key: str) -> bool:
    return not options.only or key in options.only.split(",")


def main(measure: Callable[[argparse.Namespace], Report], options: argparse.Namespace) -> None:
    """Measure, keep and print. A bench that cannot run here says so and ends with 0."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that every contestant is ended
    machine = host.line()
    try:
        report = measure(options)
    except Skipped as reason:
        print(f"skipped: {reason}")
        return
    report.host = machine
    report.save()
    print(f"\n## {report.title}\n\n{table.of(report)}\n")
    for note in [*report.notes, machine]:
        print(f"- {note}")


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)
