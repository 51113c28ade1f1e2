"""What the files of a Terraform application say, without running Terraform."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2

from pipecd.errors import ConfigError, Place
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source


@dataclass(frozen=True, kw_only=True)
class Module:
    """A `module` block. `version` is empty where the block names none."""

    name: str
    source: str
    version: str


def modules(source: Source) -> Sequence[Module]:
    """The modules that the directory uses. Raises ConfigError when a file cannot be read."""
    files = sorted(source.directory.glob("*.tf"))
    if not files and not any(source.directory.glob("*.tf.json")):
        raise ConfigError(
            "there is no *.tf file in the application's directory",
            remedy="move the configuration there, or correct the application's path",
            place=Place(str(source.directory.relative_to(source.root.resolve()))),
        )
    return [module for file in files for module in _modules(file, source.root)]


def versions(found: Sequence[Module]) -> Sequence[Version]:
    if not found:
        return (Version(kind=VersionKind.UNKNOWN, version="unknown"),)
    return tuple(
        Version(kind=VersionKind.TERRAFORM_MODULE, version=one.version, name=one.name, url=one.source)
        for one in found
    )


def _modules(file: Path, root: Path) -> Iterator[Module]:
    try:
        tree = hcl2.loads(file.read_text())
    except Exception as error:
        # The parser raises whatever its grammar's library raises; Terraform tells the details in its stage.
        raise ConfigError(
            f"this is no Terraform configuration: {_first_line(error)}",
            remedy="run `terraform validate` in this directory",
            place=Place(str(file.relative_to(root.resolve())), line=getattr(error, "line", 0) or 0),
        ) from error
    for block in tree.get("module", ()):
        for name, body in block.items():
            yield Module(
                name=_plain(name),
                source=_plain(body.get("source", "")),
                version=_plain(body.get("version", "")),
            )


def _plain(value: Any) -> str:
    return str(value).strip('"')


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
