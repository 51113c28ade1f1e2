"""What flags of several programs have in common: switches, Go's durations, and where a configuration is."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipecd.config.sources import PIPED_SOURCES
from pipecd.config.values import duration

Function = TypeVar("Function", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """Go's notation, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):  # a default, which is seconds already
            return value
        try:
            return duration(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


def switch(
    name: str, help: str, *, default: bool = False, hidden: bool = False
) -> Callable[[Function], Function]:
    """On by itself, and also written `--name=true` or `--name=false`, as charts do."""
    return click.option(
        name,
        type=click.BOOL,
        is_flag=False,
        flag_value="true",
        default=default,
        show_default=True,
        help=help,
        hidden=hidden,
    )


def config_options(command: Function) -> Function:
    """The agent's five flags of which exactly one is given; `config_flags` takes them out again."""
    for flag, kind in reversed(list(PIPED_SOURCES.items())):
        command = click.option(flag, default="", metavar=kind.metavar, help=kind.help)(command)
    return command


def config_flags(values: dict[str, Any]) -> dict[str, str]:
    """From what click hands to a command with `config_options`: flag → value, for `sources.chosen`."""
    return {flag: values.pop(attribute(flag)) or "" for flag in PIPED_SOURCES}


def attribute(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
