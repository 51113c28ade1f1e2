"""Writes the generated pages to docs/reference, and finds those that are out of date."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from docsite import commands, configuration, http_api, log_events, metrics, rpcs
from docsite.markdown import GENERATED

DIRECTORY = Path("docs/reference")


def pages() -> Mapping[str, str]:
    """The text of every generated page, by path below docs/reference."""
    return {
        **configuration.pages(),
        **metrics.pages(),
        **log_events.pages(),
        **rpcs.pages(),
        **http_api.pages(),
        **commands.pages(),
    }


def generated_files(root: Path) -> Mapping[str, str]:
    """The generated pages as they are in the work tree, by path below docs/reference."""
    directory = root / DIRECTORY
    texts = {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.suffix in (".md", ".json")
    }
    # JSON has no comments: every such file is generated.
    return {
        path: text for path, text in texts.items() if text.startswith(GENERATED) or path.endswith(".json")
    }


def write(root: Path) -> Iterator[Path]:
    """Rewrite the pages that are out of date, and delete those that are no longer generated. Yields them."""
    current, wanted = generated_files(root), pages()
    for name in sorted(current.keys() | wanted.keys()):
        path = root / DIRECTORY / name
        if name not in wanted:
            path.unlink()
        elif current.get(name) != wanted[name]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name])
        else:
            continue
        yield path.relative_to(root)
