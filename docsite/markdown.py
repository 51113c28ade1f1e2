"""Markdown that reads the same on Git hosts and in the site."""

import re
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Generated from the code by `make docs-reference`. Do not edit. -->"


def page(title: str, *parts: str) -> str:
    """A generated page; empty parts are left out."""
    return "\n\n".join([GENERATED, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty if there are no rows."""
    lines = [_row(row) for row in rows]
    return "\n".join([_row(header), "|" + "---|" * len(header), *lines]) if lines else ""


def code(text: str) -> str:
    """`text` as code; empty if `text` is empty."""
    return f"`{text}`" if text else ""


def slug(heading: str) -> str:
    """The anchor of a heading, as Git hosts and the site generator derive it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text).strip().lower().replace(" ", "-")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
