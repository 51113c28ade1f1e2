"""Entry points and top-level error handling of the programs `pipecd`, `piped`, `pipectl` and `launcher`.

A program's module is imported when its command is called, so `pipectl --help` does not import the agent.
"""

import importlib
import os
import sys

import click

from pipecd import __version__
from pipecd.errors import PipecdError
from pipecd.lazy_group import LazyGroup
from pipecd.pid1 import fork_if_pid1
from pipecd.printable import printable_lines

# gRPC's C library, which is imported later, would write messages of its own to standard error, such as that a
# port is in use; the programs report these errors themselves.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

PIPED = ("pipecd.piped.cli:command", "Run the agent.")
VERSION = ("pipecd.version:command", "Print the version.")
LAUNCHER = ("pipecd.launcher.cli:command", "Run the agent in its desired version.")


@click.group(
    cls=LazyGroup,
    lazy_commands={
        "quickstart": ("pipecd.quickstart.cli:command", "Run all components on this machine with a demo."),
        "server": ("pipecd.controlplane.cli:server", "Run the control plane."),
        "ops": ("pipecd.controlplane.cli:ops", "Run only the control plane's background jobs."),
        "piped": PIPED,
        "launcher": LAUNCHER,
        "pipectl": ("pipecd.pipectl:command", "Command-line client for people and CI."),
        "import": ("pipecd.controlplane.moving.cli:command", "Import the records of PipeCD's control plane."),
        "projects": ("pipecd.controlplane.projects_cli:command", "Add and list projects of the database."),
        "hash-password": ("pipecd.controlplane.cli:hash_password_command", "Hash a password for a project."),
        "version": VERSION,
    },
)
@click.version_option(__version__, prog_name="pipecd")
def pipecd_command() -> None:
    """GitOps continuous delivery: control plane, agent, launcher and command line."""


@click.group(cls=LazyGroup, lazy_commands={"piped": PIPED, "version": VERSION})
@click.version_option(__version__, prog_name="piped")
def piped_command() -> None:
    """The agent: deploys applications from Git."""


@click.group(cls=LazyGroup, lazy_commands={"launcher": LAUNCHER, "version": VERSION})
@click.version_option(__version__, prog_name="launcher")
def launcher_command() -> None:
    """Runs the agent in the version that the control plane specifies."""


def main() -> None:
    fork_if_pid1()
    _run(pipecd_command)


def piped() -> None:
    fork_if_pid1()
    _run(piped_command)


def launcher() -> None:
    # A start command that replaces the image's entry point contains `launcher` only once.
    if len(sys.argv) > 1 and sys.argv[1].startswith("--") and sys.argv[1] not in ("--help", "--version"):
        sys.argv.insert(1, "launcher")
    fork_if_pid1()
    _run(launcher_command)


def pipectl() -> None:
    _run(importlib.import_module("pipecd.pipectl").command)


def _run(command: click.Command) -> None:
    """Print each PipecdError as one sentence and exit with 1; any other error keeps its traceback."""
    try:
        command()
    except (PipecdError, BaseExceptionGroup) as error:
        expected = _expected_errors(error)
        if not expected:
            raise
        for pipecd_error in expected:
            click.echo(printable_lines(f"{command.name or 'pipecd'}: {pipecd_error}"), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _expected_errors(error: BaseException) -> list[PipecdError]:
    """The PipecdErrors in `error`; empty when it contains any other error."""
    if isinstance(error, PipecdError):
        return [error]
    if not isinstance(error, BaseExceptionGroup):
        return []
    groups = [_expected_errors(inner) for inner in error.exceptions]
    return [pipecd_error for group in groups for pipecd_error in group] if all(groups) else []


if __name__ == "__main__":
    main()
