"""Output formats: tables for people, JSON for programs (`-o json`), and JSON as PipeCD's pipectl prints it.

A command describes what people see as a `View`; `show` prints it, or prints it again whenever it changes
(`--watch`). Everything that comes from a repository, an agent or a caller goes through `printable`.
"""

import functools
import io
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

import click
from google.protobuf.message import Message
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from pipecd import proto_json
from pipecd.clock import Clock
from pipecd.errors import Temporary
from pipecd.printable import printable, printable_lines

Response = TypeVar("Response", bound=Message)

FORMATS = ("table", "wide", "json", "pipecd")
_FORMATS_OF_PROGRAMS = frozenset({"json", "pipecd"})
#: Interval between two reads of what is watched, in seconds.
WATCH_INTERVAL = 2.0
#: Console width, in columns, that is wider than any line.
_UNLIMITED_WIDTH = 100_000
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Characters of a shortened id, which commands accept.
SHORT_ID_LENGTH = 8
#: Columns that become narrower if the terminal is too narrow for all.
_TEXT_COLUMNS = frozenset(
    {"NAME", "APPLICATION", "LABELS", "SUMMARY", "REASON", "DESCRIPTION", "REPOSITORIES", "DIRECTORY"}
    | {"DATA", "RESULT", "BLOCKS", "DEPLOYMENTS"}
)
#: Symbol and style of a status on a terminal.
_SUCCESS, _FAILURE, _ACTIVE = ("✓", "green"), ("✗", "red"), ("●", "cyan")
_WAITING, _OVER, _CHANGED = ("○", "dim"), ("–", "dim"), ("!", "yellow")
_STATUSES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("SUCCESS", "SYNCED", "ONLINE"), _SUCCESS),
    **dict.fromkeys(("FAILURE", "INVALID_CONFIG"), _FAILURE),
    **dict.fromkeys(("RUNNING", "DEPLOYING"), _ACTIVE),
    **dict.fromkeys(("PENDING", "PLANNED", "NOT_STARTED_YET", "NOT_HANDLED", "UNKNOWN"), _WAITING),
    **dict.fromkeys(("ROLLING_BACK", "OUT_OF_SYNC", "OFFLINE", "NOT_RESPONDING"), _CHANGED),
    **dict.fromkeys(("CANCELLED", "SKIPPED", "EXITED", "DISABLED", "DELETED", "OUTDATED"), _OVER),
}


@dataclass(frozen=True, kw_only=True)
class Output:
    """The options `-o` and `--watch`."""

    format: str = "table"
    watch: bool = False

    @property
    def wide(self) -> bool:
        return self.format == "wide"

    @property
    def for_programs(self) -> bool:
        return self.format in _FORMATS_OF_PROGRAMS

    def id(self, id: str) -> str:
        """`id` as a table shows it: shortened on a terminal, unless the table is wide."""
        return id[:SHORT_ID_LENGTH] if sys.stdout.isatty() and not self.wide and ID.fullmatch(id) else id


@dataclass(frozen=True, kw_only=True)
class View:
    """What people see: `parts` on standard output, `notes` on standard error. Watching ends if `final`."""

    parts: Sequence[RenderableType] = ()
    notes: Sequence[str] = field(default_factory=tuple)
    final: bool = False


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `-o`, which the command receives as `output: str`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default=FORMATS[0],
        show_default=True,
        envvar="PIPECTL_OUTPUT",
        show_envvar=True,
        help="Format. `pipecd`: as PipeCD's pipectl, one line of JSON.",
    )(command)


def page_options(limit: int = 30) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--cursor` and `--limit`, whose default is `limit`, to a command that shows a page of a list."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        cursor = click.option("--cursor", default="", help="Continue after the previous page.")
        size = click.IntRange(1, 200)
        length = click.option(
            "--limit", default=limit, show_default=True, type=size, help="Length of a page."
        )
        return cursor(length(command))

    return add


def view_options(run: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `-o` and `--watch`, which the command receives as `output: Output`."""

    @output_option
    @click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes.")
    @functools.wraps(run)
    def callback(*args: Any, output: str, watch: bool, **options: Any) -> Any:
        chosen = Output(format=output, watch=watch)
        if watch and chosen.for_programs:
            raise click.UsageError(f"--watch cannot be combined with -o {output}")
        return run(*args, output=chosen, **options)

    return callback


async def show(
    clock: Clock,
    fetch: Callable[[], Awaitable[Response]],
    render: Callable[[Response], View],
    output: Output,
) -> None:
    """Print what `fetch` returns: as JSON, as a view, or as a view that follows it until it is final."""
    response = await fetch()
    if output.for_programs:
        print_json(response, output)
    elif not output.watch:
        print_view(render(response))
    elif sys.stdout.isatty():
        with Live(
            console=terminal(), auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        ) as live:
            await _watch(clock, fetch, render, render(response), lambda view: _redraw(live, view))
    else:
        await _watch(clock, fetch, render, render(response), PrintChanges())


async def _watch(
    clock: Clock,
    fetch: Callable[[], Awaitable[Response]],
    render: Callable[[Response], View],
    view: View,
    draw: Callable[[View], None],
) -> None:
    """Draw the view every WATCH_INTERVAL until it is final. An outage is a note below the last view."""
    draw(view)
    while not view.final:
        await clock.sleep(WATCH_INTERVAL)
        try:
            view = render(await fetch())
        except Temporary as error:
            draw(View(parts=view.parts, notes=[f"{error}; trying again"]))
        else:
            draw(view)


def _redraw(live: Live, view: View) -> None:
    live.update(
        Group(*view.parts, *(Text(printable(note), style="dim") for note in view.notes)), refresh=True
    )


class PrintChanges:
    """Prints a view if it differs from the one printed before. For output that is not a terminal."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, view: View) -> None:
        file = io.StringIO()
        _console(file).print(*view.parts, sep="\n")
        text = file.getvalue()
        if text != self._last:
            separator = "\n" if self._last else ""
            click.echo(f"{separator}{text}", nl=False)
            self._last = text


def terminal() -> Console:
    """The console of standard output. It respects NO_COLOR, and wraps lines on a terminal only."""
    return _console(sys.stdout)


def _console(file: IO[str]) -> Console:
    """A console that prints text as it is: `[red]` and `:bug:` in a commit's message are not markup."""
    width = None if file.isatty() else _UNLIMITED_WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def print_view(view: View) -> None:
    console = terminal()
    for part in view.parts:
        console.print(part, soft_wrap=isinstance(part, Text))
    for note in view.notes:
        click.echo(printable(note), err=True)


def print_json(message: Message, output: Output) -> None:
    """Print as JSON: field names of the schema, enums as names, zero and empty fields included.

    As PipeCD's pipectl prints it, it is one line, with enums as numbers, and without zero and empty fields.
    """
    if output.format == "pipecd":
        click.echo(_printable_json(proto_json.dumps(message)))
        return
    text = json.dumps(proto_json.to_object(message, proto_json.SHOWN), indent=2, ensure_ascii=False)
    click.echo(_printable_json(text))


def _printable_json(text: str) -> str:
    """The same JSON. Control characters that JSON allows in strings are escaped."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else json.dumps(character, ensure_ascii=True)[1:-1]
        for character in text
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, one_line: bool = False) -> Table | None:
    """One line per record; None without records. STATUS gets a colour and a symbol.

    On a terminal that is too narrow, the texts of _TEXT_COLUMNS are wrapped or, if `one_line`, cut.
    """
    rendered = Table(
        *(Column(name, no_wrap=name not in _TEXT_COLUMNS) for name in columns),
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for row in rows:
        cells = [_cell(column, printable(value)) for column, value in zip(columns, row, strict=True)]
        for cell in cells if one_line else ():
            cell.no_wrap, cell.overflow = True, "ellipsis"
        rendered.add_row(*cells)
    return rendered if rendered.row_count else None


def fields(pairs: Iterable[tuple[str, str]]) -> Text:
    """One line per field; empty fields are left out."""
    filled = [(name, printable(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in filled), default=0)
    lines = [Text(f"{name:<{width}}  ").append_text(_cell(name.upper(), value)) for name, value in filled]
    return Text("\n").join(lines)


def list_view(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, cursor: str = "") -> View:
    """A page of a list: a table of one line per record, or the sentence `empty`."""
    records = table(columns, rows, one_line=True)
    notes = [] if records else [empty]
    notes += [f"Next page: --cursor={cursor}"] if cursor else []
    return View(parts=[records] if records else [], notes=notes)


def _cell(column: str, value: str) -> Text:
    """A value, styled if the column is a status. The symbol is for terminals that can show it."""
    symbol, style = _STATUSES.get(value, ("", "")) if column == "STATUS" else ("", "")
    prefix = f"{symbol} " if symbol and sys.stdout.isatty() and _shows_symbols() else ""
    return Text(f"{prefix}{value}", style=style)


def _shows_symbols() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def echo(text: str = "", *, err: bool = False, newline: bool = True) -> None:
    """Print text of several lines, without what would control the terminal. Every command prints with it."""
    click.echo(printable_lines(text), err=err, nl=newline)


def format_age(seconds: int) -> str:
    """Format how long ago an epoch time was, such as `5m ago`."""
    if not seconds:
        return "never"
    elapsed = max(0, int(time.time()) - seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if elapsed >= unit:
            return f"{elapsed // unit}{name} ago"
    return f"{elapsed}s ago"
