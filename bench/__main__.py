"""Runs the benches by name, all of them without one, and prints a line a figure."""

import asyncio
import importlib
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from bench.figures import machine

BENCHES = ("latency", "fleet", "pages", "rpc", "shift", "container", "idle")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wanted = sys.argv[1:] or BENCHES
    unknown = set(wanted) - set(BENCHES)
    if unknown:
        sys.exit(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    print(machine())
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="pipecd-bench-") as folder:
            asyncio.run(importlib.import_module(f"bench.{name}").run(Path(folder)))


if __name__ == "__main__":
    main()
