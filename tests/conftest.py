"""Settings for all tests: order, plain tracebacks in logs, and the same examples of Hypothesis in each run.

Workers take tests from one queue, the longest first: a long test at the end would leave the other workers
without work. Long tests mostly wait for other programs, and short ones mostly compute, so both begin at once.
`durations.json` lists how long tests took, by file; `make test-durations` writes it. Only the order depends
on it.
"""

import gc
import json
import os
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.forked_workers import forked_workers

# By default an example that takes 200 ms, or slow generation of examples, counts as a failure.
_NO_LIMITS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in each run: a failure is due to a change, and does not come and go.
settings.register_profile("repeatable", _NO_LIMITS, derandomize=True)
# To search for faults: `--hypothesis-profile=random`.
settings.register_profile("random", _NO_LIMITS)
settings.load_profile("repeatable")

# structlog's default renders the variables of each frame of a traceback, which takes up to a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# httpcore looks for this package before it waits for anything, a dozen times for each request.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]

# Terraform, Helm and others are written in Go, and end long before their memory would matter.
os.environ.setdefault("GOGC", "400")

# Nothing is garbage until all tests are collected: the collector would only search a million objects.
gc.disable()

DURATIONS = Path(__file__).with_name("durations.json")
#: Shorter tests are not listed; they run last, in the order of their files.
SHORTEST_LISTED = 1.0
#: How long tests take that are not listed, on average, and those that mostly wait, at least (seconds).
UNLISTED, LONG = 0.15, 4.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-durations", action="store_true", help=f"write {DURATIONS.name}")
    parser.addoption("--fork-workers", action="store_true", help="import all tests only once")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        # Its workers collect the tests.
        gc.enable()
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    if config.getoption("--fork-workers"):
        stack = ExitStack()
        stack.enter_context(forked_workers(specs, config.args))
        config.add_cleanup(stack.close)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Half of the time for long tests, half for short ones; each from the longest to the shortest.

    Files that are not listed yet come first.
    """
    listed = _listed()

    def duration(item: pytest.Item) -> float:
        file, function = _split(item.nodeid)
        return listed[file].get(function, UNLISTED) if file in listed else float("inf")

    durations = [(duration(item), item) for item in items]
    durations.sort(key=lambda entry: entry[0], reverse=True)
    items[:] = _interleave(durations)


def _interleave(durations: Iterable[tuple[float, pytest.Item]]) -> Iterator[pytest.Item]:
    """Long and short tests, so that at any time about as many seconds of both have begun."""
    long, short = deque[tuple[float, pytest.Item]](), deque[tuple[float, pytest.Item]]()
    for seconds, item in durations:
        (long if seconds >= LONG else short).append((seconds, item))
    ahead = 0.0
    while long or short:
        is_long = bool(long) and (ahead <= 0.0 or not short)
        seconds, item = (long if is_long else short).popleft()
        seconds = UNLISTED if seconds == float("inf") else seconds
        ahead += seconds if is_long else -seconds
        yield item


def pytest_collection_finish() -> None:
    """Modules and tests exist until the end, so that the collector need not search them again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


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
