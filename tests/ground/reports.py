"""Test reports on their way from one pytest to another, one JSON line each; a pytest plugin writes them."""

import json
import os
from pathlib import Path

import pytest

FILE = "GROUND_REPORTS"  # the environment variable that names the file


class Writer:
    """Appends each report to a file as it comes."""

    def __init__(self, config: pytest.Config, path: str) -> None:
        self.config = config
        self.file = open(path, "a")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one of a test's three reports: setup, call, teardown."""
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        print(json.dumps(data), file=self.file, flush=True)

    def pytest_unconfigure(self) -> None:
        """Close the file."""
        self.file.close()


def pytest_configure(config: pytest.Config) -> None:
    """Write reports where this pytest was told a file for them."""
    if path := os.environ.get(FILE):
        config.pluginmanager.register(Writer(config, path))


def read(config: pytest.Config, path: Path) -> dict[str, list[pytest.TestReport]]:
    """The reports in a file, by test."""
    reports: dict[str, list[pytest.TestReport]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        report = config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
        reports.setdefault(report.nodeid, []).append(report)
    return reports
