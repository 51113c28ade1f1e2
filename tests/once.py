"""Directories that are built once per run of the tests, by the first worker that needs them."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def folder_of_run(factory: pytest.TempPathFactory) -> Path:
    """Each worker of pytest-xdist has its own directory below that of the run."""
    return factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()


def build_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """The directory that `build` filled in this run. It is shared by all workers: do not change its files.

    If `build` fails, the next worker tries again.
    """
    root = folder_of_run(factory)
    folder, unfinished = root / f"once-{name}", root / f"once-{name}.unfinished"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
    return folder
