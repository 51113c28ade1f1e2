"""A click group that imports a command's module only when the command is called, so `--help` stays fast."""

import difflib
import gc
import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import click
from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """`lazy_commands` maps a command's name to `module:attribute` and one line of help."""

    def __init__(self, *args: Any, lazy_commands: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy_commands = lazy_commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy_commands:
            return None
        module, _, attribute = self._lazy_commands[cmd_name][0].partition(":")
        command: click.Command = getattr(_import_without_collections(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], self._lazy_commands, 1)
        if args[0] not in self._lazy_commands and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completes the names of commands, and the group's own options."""
        items = [
            CompletionItem(name, help=help_text)
            for name, (_, help_text) in self._lazy_commands.items()
            if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in self._lazy_commands.items()])


def _import_without_collections(name: str) -> ModuleType:
    """Import a module, and collect garbage once afterwards.

    Modules exist until the program's end. While they are imported, the collector would search all of their
    objects again and again, which is a fifth of the time; and later, each full collection would.
    """
    if name in sys.modules or not gc.isenabled():
        return importlib.import_module(name)
    gc.disable()
    try:
        module = importlib.import_module(name)
    finally:
        gc.enable()
    gc.collect()
    gc.freeze()
    return module
