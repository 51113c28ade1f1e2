"""How answers are shown: tables for people, JSON for programs (`-o json`)."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table


def output_option(function: Any) -> Any:
    """`-o table|json`."""
    choice = click.Choice(["table", "json"])
    return click.option("-o", "--output", type=choice, default="table", show_default=True)(function)


def as_json(value: Message | Sequence[Message] | Mapping[str, Any]) -> None:
    """Names as in the schema; numbers as numbers where JSON can hold them."""
    if isinstance(value, Message):
        shown: Any = _object(value)
    elif isinstance(value, Mapping):
        shown = value
    else:
        shown = [_object(one) for one in value]
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A row a record. Piped into another program it is not cut to the terminal's width."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    count = 0
    for row in rows:
        made.add_row(*row)
        count += 1
    if not count:
        click.echo(empty, err=True)
        return
    width = None if sys.stdout.isatty() else 1000
    Console(width=width, highlight=False, markup=False, soft_wrap=width is not None).print(made)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    known = [(name, value) for name, value in pairs if value]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        click.echo(f"{name:<{width}}  {value}")


def ago(seconds: int) -> str:
    """How long ago an epoch time was, in words."""
    if not seconds:
        return "never"
    passed = max(0, int(time.time()) - seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if passed >= unit:
            return f"{passed // unit}{name} ago"
    return f"{passed}s ago"


def _object(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
