"""Settings for all tests: their order, plain tracebacks in logs, and Hypothesis without time limits.

Workers take tests from one queue, so the longest run first: a long test at the end would leave the other
workers without work. `durations.json` lists how long tests took, by file; only the order depends on it.
`make test-durations` writes it.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# By default an example that takes 200 ms, or slow generation of examples, counts as a failure.
settings.register_profile("no_deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no_deadline")

# structlog's default renders the variables of each frame of a traceback, which takes up to a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

DURATIONS = Path(__file__).with_name("durations.json")
#: Shorter tests are not listed; they run last, in the order of their files.
SHORTEST_LISTED = 1.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help=f"write {DURATIONS.name}")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first; before them, those of files that are not listed yet."""
    listed = _listed()

    def duration(item: pytest.Item) -> float:
        file, function = _split(item.nodeid)
        return listed[file].get(function, 0.0) if file in listed else float("inf")

    items.sort(key=duration, reverse=True)


class _Recorder:
    """Adds up the seconds of each test's setup, call and teardown, and writes those of each longest case."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        recorded: dict[str, dict[str, float]] = {}
        for test, seconds in self._seconds.items():
            file, function = _split(test)
            of_file = recorded.setdefault(file, {})
            if seconds >= max(SHORTEST_LISTED, of_file.get(function, 0.0)):
                of_file[function] = round(seconds, 1)
        of_files = {**_listed(), **recorded}
        existing = {file: of_files[file] for file in sorted(of_files) if (DURATIONS.parent / file).exists()}
        DURATIONS.write_text(json.dumps(existing, indent=1, sort_keys=True) + "\n")


def _listed() -> dict[str, dict[str, float]]:
    listed: dict[str, dict[str, float]] = json.loads(DURATIONS.read_text())
    return listed


def _split(nodeid: str) -> tuple[str, str]:
    """The file, relative to this folder, and the name of the function."""
    file, _, name = nodeid.removeprefix("tests/").partition("::")
    return file, name.partition("[")[0]
