"""The guide documents every command and flag, and no others."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from pipecd.pipectl import command

GUIDE = (Path(__file__).parents[2] / "docs/guide/pipectl.md").read_text()
#: Flags of other programs in the guide's examples, and click's own.
OTHER_FLAGS = {"--help", "--version"}


def list_commands(group: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        yield path, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        subcommand = group.get_command(context, name)
        assert subcommand
        yield from list_commands(subcommand, *path, name)


COMMANDS = dict(list_commands(command))


def flags_of(subcommand: click.Command) -> set[str]:
    return {flag for parameter in subcommand.params for flag in parameter.opts if flag.startswith("--")}


def find_section(path: tuple[str, ...]) -> str:
    """Return the text of the section that documents the command."""
    for part in re.split(r"^## ", GUIDE, flags=re.MULTILINE)[2:]:
        if f"`{path[0]} " in part or f"`{path[0]}`" in part:
            return part
    raise AssertionError(f"the guide does not document {path[0]}")


def test_the_guide_documents_every_command_and_its_flags() -> None:
    common = GUIDE.split("\n## ")[1]
    for path, subcommand in COMMANDS.items():
        text = find_section(path)
        assert path[-1] in re.findall(r"[a-z-]+", text), path
        for flag in flags_of(subcommand):
            pattern = rf"{flag}(?![a-z-])"
            assert re.search(pattern, text) or re.search(pattern, common), (path, flag)


def test_the_guide_documents_no_unknown_flags() -> None:
    real = set().union(*map(flags_of, COMMANDS.values())) | OTHER_FLAGS
    real |= {
        flag
        for subcommand in COMMANDS.values()
        for parameter in subcommand.params
        for flag in parameter.secondary_opts
    }
    assert set(re.findall(r"--[a-z][a-z0-9-]+", GUIDE)) <= real


#: The flags of PipeCD's pipectl 0.55; an asterisk marks those that it requires.
PIPECDS_FLAGS = {
    "application add": "app-name* app-kind* piped-id* platform-provider* repo-id* app-dir* config-file-name"
    " description labels",
    "application sync": "app-id* wait-status check-interval timeout",
    "application get": "app-id*",
    "application list": "app-name app-kind piped-id disabled label cursor limit",
    "application disable": "app-id*",
    "application delete": "app-id*",
    "deployment list": "status app-id app-kind app-name label cursor limit",
    "deployment wait-status": "deployment-id* status* check-interval timeout",
    "deployment logs": "deployment-id*",
    "event register": "name* data* labels contexts commit-hash commit-title commit-message commit-url"
    " commit-author commit-timestamp",
    "encrypt": "piped-id* input-file use-base64-encoding",
    "piped enable": "piped-id*",
    "piped disable": "piped-id*",
    "plan-preview": "repo-remote-url* head-branch* head-commit* base-branch* out timeout piped-handle-timeout"
    " sort-label-keys",
    "plugin push": "files* tag* insecure registry* repository*",
    "migrate application-config": "config-files dirs",
    "migrate database": "applications*",
    "transfer backup": "output-file* labels",
    "transfer restore piped": "input-file* output-file",
    "transfer restore application": "input-file* piped-id-mapping-file* labels",
    "version": "",
}
#: Commands that connect to no control plane.
LOCAL = {"plugin push", "migrate application-config", "version"}
COMMON_FLAGS = {"address", "api-key", "api-key-file", "insecure", "cert-file"}


def test_command_lines_of_pipecds_pipectl_are_accepted() -> None:
    for name, text in PIPECDS_FLAGS.items():
        subcommand = COMMANDS[tuple(name.split())]
        common = set() if name in LOCAL else COMMON_FLAGS
        flags = {flag.rstrip("*") for flag in text.split()} | common
        assert {f"--{flag}" for flag in flags} <= flags_of(subcommand), name
        required = {parameter.opts[0] for parameter in subcommand.params if parameter.required}
        assert required <= {f"--{flag[:-1]}" for flag in text.split() if flag.endswith("*")}, name


def test_the_guide_documents_the_defaults() -> None:
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
        (option,) = (parameter for parameter in COMMANDS[path].params if parameter.name == flag)
        assert str(option.default) == default, (path, flag)
        assert f"({default})" in find_section(path), (path, flag)
