"""Output formats: tables for people, JSON for programs (`-o json`)."""

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

#: Console width, in columns, that is wider than any line.
_UNLIMITED_WIDTH = 100_000


def output_option(function: Any) -> Any:
    """Add the option `-o table|json`."""
    choice = click.Choice(["table", "json"])
    option = click.option("-o", "--output", type=choice, default="table", show_default=True, help="Format.")
    return option(function)


def print_json(message: Message) -> None:
    """Print as JSON: field names of the schema, enums as names, zero and empty fields included."""
    click.echo(json.dumps(proto_json.to_object(message, proto_json.SHOWN), indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print one line per record. Wraps lines on a terminal only, and never the first column."""
    first, *rest = columns
    rendered = Table(Column(first, no_wrap=True), *rest, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        rendered.add_row(*map(printable, row))
    if not rendered.row_count:
        click.echo(empty, err=True)
        return
    width = None if sys.stdout.isatty() else _UNLIMITED_WIDTH
    Console(width=width, highlight=False, markup=False).print(rendered)


def print_fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print one line per field; empty fields are left out."""
    fields = [(name, value) for name, value in pairs if value]
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        click.echo(f"{name:<{width}}  {printable(value)}")


def printable(text: str) -> str:
    """Return `text` as one line without control characters, so that a commit cannot control the terminal."""
    return "".join(character if character.isprintable() else " " for character in text.strip())


def format_age(seconds: int) -> str:
    """Format how long ago an epoch time was, such as `5m ago`."""
    if not seconds:
        return "never"
    elapsed = max(0, int(time.time()) - seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if elapsed >= unit:
            return f"{elapsed // unit}{name} ago"
    return f"{elapsed}s ago"
