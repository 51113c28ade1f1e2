"""Reference pages of the command lines, from the click commands: one page per program."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import click

from docsite.keys import format_duration
from docsite.markdown import code, page, table
from pipecd.__main__ import launcher_command, pipecd_command, piped_command
from pipecd.config.flags import Duration
from pipecd.pipectl import command as pipectl_command

_HEADER = ("Option", "Default", "Meaning")
#: Commands of `pipecd` that are programs of their own.
_PROGRAMS = ("piped", "launcher", "pipectl")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that can be run. `name` is the whole command, such as `pipectl application get`."""

    name: str
    command: click.Command

    @property
    def options(self) -> Sequence[click.Option]:
        return [
            parameter
            for parameter in self.command.params
            if isinstance(parameter, click.Option) and not parameter.hidden
        ]


def pages() -> Mapping[str, str]:
    """Page text by path below docs/reference."""
    intros = {
        "pipecd": "`pipecd piped`, `pipecd launcher` and `pipecd pipectl` are the programs [piped](piped.md),"
        " [launcher](launcher.md) and [pipectl](pipectl.md).",
        "pipectl": "Exit codes: 0 success; 1 failure, with the reason on standard error; 2 wrong usage; 130"
        " interrupted.",
    }
    return {
        f"commands/{name}.md": _page(name, list(all_commands), intros.get(name, ""))
        for name, all_commands in programs().items()
    }


def programs() -> Mapping[str, Sequence[Command]]:
    """The commands of each program."""
    return {
        "pipecd": [
            command for command in _walk(pipecd_command, "pipecd") if command.name.split()[1] not in _PROGRAMS
        ],
        "piped": list(_walk(piped_command, "piped")),
        "launcher": list(_walk(launcher_command, "launcher")),
        "pipectl": list(_walk(pipectl_command, "pipectl")),
    }


def _walk(command: click.Command, name: str) -> Iterator[Command]:
    if not isinstance(command, click.Group):
        yield Command(name=name, command=command)
        return
    context = click.Context(command, info_name=name)
    for subcommand in command.list_commands(context):
        inner = command.get_command(context, subcommand)
        assert inner
        yield from _walk(inner, f"{name} {subcommand}")


def _page(program: str, all_commands: Sequence[Command], intro: str) -> str:
    shared = _shared_options(all_commands)
    parts = []
    if shared:
        rows = [_row(option) for option in all_commands[0].options if _identity(option) in shared]
        parts.append(f"## Options of all commands\n\n{table(_HEADER, rows)}")
    for command in all_commands:
        rows = [_row(option) for option in command.options if _identity(option) not in shared]
        parts.append("\n\n".join(filter(None, (_heading(command), _help(command), table(_HEADER, rows)))))
    return page(program, intro, *parts)


def _shared_options(all_commands: Sequence[Command]) -> set[tuple[str, str]]:
    """The options that every command with options has, if there are several such commands."""
    options = [{_identity(option) for option in command.options} for command in all_commands]
    options = [identities for identities in options if identities]
    return set.intersection(*options) if len(options) > 1 else set()


def _identity(option: click.Option) -> tuple[str, str]:
    return option.opts[0], option.help or ""


def _heading(command: Command) -> str:
    arguments = [
        f"{parameter.human_readable_name}"
        for parameter in command.command.params
        if isinstance(parameter, click.Argument)
    ]
    return f"## `{' '.join([command.name, *arguments])}`"


def _help(command: Command) -> str:
    text = " ".join((command.command.help or "").split())
    epilog = " ".join((command.command.epilog or "").split())
    return f"{text} {epilog}".strip()


def _row(option: click.Option) -> tuple[str, str, str]:
    context = click.Context(click.Command("x"))
    names = ", ".join(code(name) for name in [*option.opts, *option.secondary_opts])
    metavar = (
        ""
        if option.is_flag or isinstance(option.type, click.types.BoolParamType)
        else option.make_metavar(context)
    )
    if isinstance(option.type, click.Choice):
        metavar = ""
    value = f" {code(metavar)}" if metavar else ""
    return names + value, _default(option), _meaning(option)


def _meaning(option: click.Option) -> str:
    text = " ".join((option.help or "").split())
    if isinstance(option.type, click.Choice):
        text += " One of " + ", ".join(code(str(choice)) for choice in option.type.choices) + "."
    if isinstance(option.type, click.IntRange):
        text += f" {option.type.min}–{option.type.max}."
    if option.multiple:
        text += " May be repeated."
    if option.envvar:
        text += f" Environment variable: {code(str(option.envvar))}."
    return text.strip()


def _default(option: click.Option) -> str:
    if option.required:
        return "**required**"
    default = option.to_info_dict()["default"]
    if isinstance(default, bool):
        return code(str(default).lower())
    if default in (None, "", ()) or callable(default):
        return ""
    if isinstance(option.type, Duration) and isinstance(default, float):
        return code(format_duration(timedelta(seconds=default)))
    return code(str(default))
