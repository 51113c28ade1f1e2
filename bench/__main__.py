"""Runs the benchmarks given by name, or all, and prints one line per figure."""

import asyncio
import importlib
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from bench.figures import describe_machine

BENCHMARKS = (
    "latency",
    "events",
    "notify",
    "fleet",
    "pages",
    "rpc",
    "writes",
    "audit",
    "recheck",
    "large",
    "parallel",
    "shift",
    "cloudrun",
    "container",
    "idle",
    "console",
    "details",
    "insights",
    "kubernetes",
    "canary",
    "load",
    "replicas",
)


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    selected = sys.argv[1:] or BENCHMARKS
    unknown = set(selected) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}; available: {', '.join(BENCHMARKS)}")
    print(describe_machine())
    for name in selected:
        with tempfile.TemporaryDirectory(prefix="pipecd-bench-") as folder:
            asyncio.run(importlib.import_module(f"bench.{name}").run(Path(folder)))


if __name__ == "__main__":
    main()
