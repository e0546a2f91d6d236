"""Failures are told as they happen: a run that is cut short has still said what it knew."""

import pytest

_reporters = []


def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        _reporters.append(reporter)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and _reporters:
        last = report.longreprtext.strip().splitlines()[-1:]
        _reporters[0].write_line(f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s): {' '.join(last)}")
