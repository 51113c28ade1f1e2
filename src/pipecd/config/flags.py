"""Command-line options shared by several programs: switches, Go durations, and configuration sources."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipecd.admin_port import LOOPBACK
from pipecd.config.sources import PIPED_SOURCES
from pipecd.config.values import duration

Function = TypeVar("Function", bound=Callable[..., Any])


class Port(click.IntRange):
    name = "port"


#: 0 selects a free port, or none, as the option says.
PORT = Port(0, 65535)
#: Also those of PipeCD, which log errors.
LOG_LEVELS = click.Choice(
    ["debug", "info", "warn", "warning", "error", "critical", "dpanic", "panic", "fatal"],
    case_sensitive=False,
)
LOG_LEVEL_HELP = "Lowest level that is logged."


class Duration(click.ParamType[float]):
    """A duration in Go's notation, converted to seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):  # a default, which is already in seconds
            return value
        try:
            return duration(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


def switch(
    name: str, help: str, *, default: bool | None = False, hidden: bool = False, envvar: str | None = None
) -> Callable[[Function], Function]:
    """A boolean option: `--name` alone is true; `--name=true` and `--name=false`, as in charts, also work.

    With the default None, the value is None if the option was not given.
    """
    return click.option(
        name,
        type=click.BOOL,
        is_flag=False,
        flag_value="true",
        default=default,
        show_default=default is not None,
        help=help,
        hidden=hidden,
        envvar=envvar,
        show_envvar=True,
    )


def admin_host_option(command: Function) -> Function:
    """Images of containers set the variable: there, the port is reached from outside."""
    return click.option(
        "--admin-host",
        default=LOOPBACK,
        show_default=True,
        envvar="PIPECD_ADMIN_HOST",
        show_envvar=True,
        metavar="ADDRESS",
        help="Address the admin port listens on; 0.0.0.0 for all.",
    )(command)


def config_options(command: Function) -> Function:
    """Add the agent's five configuration flags, of which exactly one is given; read by `config_flags`."""
    for flag, source_type in reversed(list(PIPED_SOURCES.items())):
        command = click.option(flag, default="", metavar=source_type.metavar, help=source_type.help)(command)
    return command


def config_flags(values: dict[str, Any]) -> dict[str, str]:
    """Remove the `config_options` from click's `values`. Returns flag → value, for `choose_source`."""
    return {flag: values.pop(parameter_name(flag)) or "" for flag in PIPED_SOURCES}


def parameter_name(flag: str) -> str:
    """The name under which click passes `flag` to the command."""
    return flag.removeprefix("--").replace("-", "_")
