"""The programs: `pipecd`, `piped`, `pipectl` and `launcher`, and where every error of a program ends.

A program's own module is imported when it is called, so that `pipectl --help` costs no agent.
"""

import importlib
import sys

import click

from pipecd import __version__
from pipecd.errors import PipecdError
from pipecd.lazy_group import LazyGroup
from pipecd.pid1 import stay_first

PIPED = ("pipecd.piped.cli:command", "Run the agent.")
VERSION = ("pipecd.version:command", "Tell the version.")
LAUNCHER = ("pipecd.launcher.cli:command", "Run the agent in the version that is asked for.")


@click.group(
    cls=LazyGroup,
    places={
        "quickstart": ("pipecd.quickstart.cli:command", "Run everything on this machine, with a demo."),
        "server": ("pipecd.controlplane.cli:server", "Run the control plane."),
        "ops": ("pipecd.controlplane.cli:ops", "Run only the control plane's own jobs."),
        "piped": PIPED,
        "launcher": LAUNCHER,
        "pipectl": ("pipecd.pipectl:command", "The command line for people and CI."),
        "hash-password": ("pipecd.controlplane.cli:hash_password_command", "Hash a password for a project."),
        "version": VERSION,
    },
)
@click.version_option(__version__, prog_name="pipecd")
def pipecd_command() -> None:
    """GitOps continuous delivery: control plane, agent, launcher and command line."""


@click.group(cls=LazyGroup, places={"piped": PIPED, "version": VERSION})
@click.version_option(__version__, prog_name="piped")
def piped_command() -> None:
    """The agent: brings applications to the commits that Git names."""


@click.group(cls=LazyGroup, places={"launcher": LAUNCHER, "version": VERSION})
@click.version_option(__version__, prog_name="launcher")
def launcher_command() -> None:
    """Runs the agent in the version that the control plane asks for."""


def main() -> None:
    stay_first()
    _run(pipecd_command)


def piped() -> None:
    stay_first()
    _run(piped_command)


def launcher() -> None:
    # Where a start command takes the place of the image's entry point, `launcher` is written once only.
    if len(sys.argv) > 1 and sys.argv[1].startswith("--") and sys.argv[1] not in ("--help", "--version"):
        sys.argv.insert(1, "launcher")
    stay_first()
    _run(launcher_command)


def pipectl() -> None:
    _run(importlib.import_module("pipecd.pipectl").command)


def _run(command: click.Command) -> None:
    """Errors that somebody can mend are one sentence; anything else is ours and shows its traceback."""
    try:
        command()
    except (PipecdError, BaseExceptionGroup) as error:
        known = _mendable(error)
        if not known:
            raise
        for one in known:
            click.echo(f"{command.name or 'pipecd'}: {one}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _mendable(error: BaseException) -> list[PipecdError]:
    """The errors made on purpose, when there are no others."""
    if isinstance(error, PipecdError):
        return [error]
    if not isinstance(error, BaseExceptionGroup):
        return []
    parts = [_mendable(inner) for inner in error.exceptions]
    return [one for part in parts for one in part] if all(parts) else []


if __name__ == "__main__":
    main()
