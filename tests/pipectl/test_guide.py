"""The guide names every command and every flag there is, and none besides."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from pipecd.pipectl import command

GUIDE = (Path(__file__).parents[2] / "docs/guide/pipectl.md").read_text()
#: Of other programs in the guide's examples, and click's own.
ELSEWHERE = {"--help"}


def leaves(group: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        yield path, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found
        yield from leaves(found, *path, name)


COMMANDS = dict(leaves(command))


def flags(one: click.Command) -> set[str]:
    return {flag for parameter in one.params for flag in parameter.opts if flag.startswith("--")}


def section(path: tuple[str, ...]) -> str:
    """From the heading under which a command stands to the next one."""
    for part in re.split(r"^## ", GUIDE, flags=re.MULTILINE)[2:]:
        if f"`{path[0]} " in part or f"`{path[0]}`" in part:
            return part
    raise AssertionError(f"the guide does not know {path[0]}")


def test_the_guide_knows_every_command_by_its_flags() -> None:
    everywhere = GUIDE.split("\n## ")[1]
    for path, one in COMMANDS.items():
        told = section(path)
        assert path[-1] in re.findall(r"[a-z-]+", told), path
        for flag in flags(one):
            known = rf"{flag}(?![a-z-])"
            assert re.search(known, told) or re.search(known, everywhere), (path, flag)


def test_the_guide_promises_no_flag_that_there_is_not() -> None:
    real = set().union(*map(flags, COMMANDS.values())) | ELSEWHERE
    assert set(re.findall(r"--[a-z][a-z0-9-]+", GUIDE)) <= real


def test_the_guides_defaults_are_those_of_the_program() -> None:
    for path, flag, default in [
        (("application", "list"), "limit", "10"),
        (("application", "sync"), "check_interval", "15s"),
        (("application", "sync"), "timeout", "5m"),
        (("deployment", "list"), "limit", "30"),
        (("deployment", "logs"), "timeout", "6h"),
        (("deployment", "wait-status"), "check_interval", "15s"),
        (("deployment", "wait-status"), "timeout", "15m"),
        (("plan-preview",), "timeout", "10m"),
        (("plan-preview",), "piped_handle_timeout", "5m"),
    ]:
        (option,) = (one for one in COMMANDS[path].params if one.name == flag)
        assert str(option.default) == default, (path, flag)
        assert f"({default})" in section(path), (path, flag)
