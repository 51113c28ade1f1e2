"""How answers are shown: tables for people, JSON for programs (`-o json`)."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Column, Table

from pipecd import proto_json

#: Columns: wider than any line.
_UNLIMITED = 100_000


def output_option(function: Any) -> Any:
    """`-o table|json`."""
    choice = click.Choice(["table", "json"])
    return click.option("-o", "--output", type=choice, default="table", show_default=True)(function)


def as_json(message: Message) -> None:
    """Names as in the schema, enums by name, numbers as numbers. Zero and empty members are there too."""
    click.echo(json.dumps(proto_json.to_object(message, proto_json.SHOWN), indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A line a record, the first column whole. Piped into another program no line is wrapped."""
    first, *rest = columns
    made = Table(Column(first, no_wrap=True), *rest, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*map(printable, row))
    if not made.row_count:
        click.echo(empty, err=True)
        return
    width = None if sys.stdout.isatty() else _UNLIMITED
    Console(width=width, highlight=False, markup=False).print(made)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    known = [(name, value) for name, value in pairs if value]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        click.echo(f"{name:<{width}}  {printable(value)}")


def printable(text: str) -> str:
    """One line without control characters: what stands in a commit must not steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text.strip())


def ago(seconds: int) -> str:
    """How long ago an epoch time was, in words."""
    if not seconds:
        return "never"
    passed = max(0, int(time.time()) - seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if passed >= unit:
            return f"{passed // unit}{name} ago"
    return f"{passed}s ago"
