"""Failures are told as they happen: a run that is cut short has still said what it knew."""

import pytest

_configs: list[pytest.Config] = []


def pytest_configure(config: pytest.Config) -> None:
    _configs.append(config)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    reporter = _configs[0].pluginmanager.get_plugin("terminalreporter")
    if report.failed and reporter is not None:
        last = report.longreprtext.strip().splitlines()[-1:]
        reporter.write_line(f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s): {' '.join(last)}")
