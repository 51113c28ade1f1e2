"""The programs: `pipecd`, `piped`, `pipectl` and `launcher`, and where every error of a program ends.

A program's own module is imported when it is called, so that `pipectl --help` costs no agent.
"""

import importlib
import sys
from collections.abc import Mapping

import click

from pipecd import __version__
from pipecd.errors import PipecdError
from pipecd.init import stay_first


class LazyGroup(click.Group):
    """A group whose commands are named as `module:attribute` and imported when somebody wants them."""

    def __init__(self, *args: object, commands_at: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._commands_at.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup,
    commands_at={
        "server": "pipecd.controlplane.cli:server",
        "ops": "pipecd.controlplane.cli:ops",
        "hash-password": "pipecd.controlplane.cli:hash_password_command",
        "quickstart": "pipecd.quickstart.cli:command",
        "piped": "pipecd.piped.cli:command",
        "launcher": "pipecd.launcher.cli:command",
        "pipectl": "pipecd.pipectl:command",
    },
)
@click.version_option(__version__, prog_name="pipecd")
def pipecd_command() -> None:
    """GitOps continuous delivery: control plane, agent, launcher and command line."""


@click.group(cls=LazyGroup, commands_at={"piped": "pipecd.piped.cli:command"})
@click.version_option(__version__, prog_name="piped")
def piped_command() -> None:
    """The agent: brings applications to the commits that Git names."""


@click.group(cls=LazyGroup, commands_at={"launcher": "pipecd.launcher.cli:command"})
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
