"""Imports what programs of tests need: the process that `tests.programs` forks them from imports this module.

The modules exist until the end, so that the collector need not search them, neither now nor in the programs.
"""

import gc
import importlib
import pickle
import sys
from contextlib import suppress

from tests.fork_server import run_and_exit, serve

#: The programs, and modules that they import on first use.
_MODULES = (
    "pipecd.controlplane.cli",
    "pipecd.launcher.cli",
    "pipecd.piped.cli",
    "pipecd.pipectl",
    "pipecd.quickstart.cli",
    "pipecd.pipectl.logs",
    "pipecd.pipectl.pipeds",
    "pipecd.pipectl.previews",
    "pipecd.pipectl.secrets",
    "pipecd.platforms.awslambda",
    "pipecd.platforms.ecs",
    "pipecd.platforms.kubernetes",
    "pipecd.platforms.terraform",
    "aiobotocore.session",
    "uvicorn.protocols.http.httptools_impl",
    "tests.programs",
)

gc.disable()
for module in _MODULES:
    # Of a package that is not installed.
    with suppress(ImportError):
        importlib.import_module(module)
gc.collect()
gc.freeze()
gc.enable()


def run(message: bytes) -> None:
    """Call the function that `tests.programs` has sent, and end this process."""
    run_and_exit(lambda: pickle.loads(message)())


if __name__ == "__main__" and (received := serve(int(sys.argv[1]))) is not None:
    run(received)
