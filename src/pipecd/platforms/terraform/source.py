"""What the files of a Terraform application say, without running Terraform.

Called at planning: for the versions that people see, and to refuse early what could never work.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipecd.config import document
from pipecd.errors import ConfigError, Place, Refused
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source
from pipecd.platforms.terraform import hcl
from pipecd.platforms.terraform.config import Input

_SUFFIXES = (".tf", ".tofu", ".tf.json", ".tofu.json")
LASTING = "configure a backend that lasts: s3, gcs, azurerm and so on, or local with an absolute path"


@dataclass(frozen=True, kw_only=True)
class Module:
    """A `module` block. `version` is empty where nothing names one."""

    name: str
    source: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Files:
    """What one directory asks for."""

    modules: Sequence[Module]
    #: Whether any stage runs Terraform. Without one there is no configuration to speak of.
    terraform: bool = True


def desired(source: Source) -> Files:
    """Raises ConfigError or Refused, with the place, for what Terraform could not do."""
    if not _runs_terraform(source):
        return Files(modules=(), terraform=False)
    found = list(_blocks(source))
    var_files(source)
    _refuse_lost_state(source, found)
    return Files(modules=[_module(block) for _, block in found if block.kind == "module" and block.labels])


def versions(found: Files) -> Sequence[Version]:
    if not found.modules:
        return (Version(kind=VersionKind.UNKNOWN, version="N/A"),)
    return tuple(
        Version(
            kind=VersionKind.TERRAFORM_MODULE,
            version=one.version or "N/A",
            name=one.name,
            url=one.source,
        )
        for one in found.modules
    )


def var_files(source: Source) -> Sequence[str]:
    """The configured variable files. Each must be a file of the repository; raises ConfigError else."""
    given: Sequence[str] = source.config.spec.input.var_files
    root = source.root.resolve()
    for index, name in enumerate(given):
        path = (source.directory / name).resolve()
        if PurePosixPath(name).is_absolute() or not path.is_relative_to(root):
            what, remedy = f"{name} is outside the repository", "keep it in the repository"
        elif not path.is_file():
            what, remedy = (
                f"there is no file {name}",
                "write it relative to the application's directory, or add it",
            )
        else:
            continue
        raise ConfigError(what, remedy=remedy, place=place(source, "varFiles", index))
    return given


def place(source: Source, *key: str | int) -> Place:
    """Where `key` of `spec.input` stands in the application's file."""
    file = source.config.file
    found = document.parse((source.root / file).read_text(), file)
    classic = ("spec", "input", *key)
    plugin = ("spec", "plugins", "terraform", *key)
    return found.place(plugin if plugin[:3] in found.lines and classic[:2] not in found.lines else classic)


def _runs_terraform(source: Source) -> bool:
    """A pipeline may do without: then its directory needs no configuration of Terraform's."""
    pipeline = source.config.spec.pipeline
    return pipeline is None or any(stage.name.startswith("TERRAFORM_") for stage in pipeline.stages)


def _blocks(source: Source) -> Iterator[tuple[str, hcl.Block]]:
    """Each top-level block with the file it stands in."""
    files = sorted(
        file for file in source.directory.iterdir() if file.name.endswith(_SUFFIXES) and file.is_file()
    )
    if not files:
        raise ConfigError(
            "there is no *.tf file in the application's directory",
            remedy="move the configuration there, or correct the application's path",
            place=Place(_shown(source, source.directory)),
        )
    for file in files:
        name = _shown(source, file)
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            raise ConfigError("is not UTF-8 text", remedy="save it as UTF-8", place=Place(name)) from None
        read = hcl.read_json if file.suffix == ".json" else hcl.read
        yield from ((name, block) for block in read(text, name))


def _shown(source: Source, path: Path) -> str:
    return str(path.resolve().relative_to(source.root.resolve()))


def _module(block: hcl.Block) -> Module:
    url = block.attributes.get("source", "")
    ref = re.search(r"[?&]ref=([^&]+)", url)
    version = block.attributes.get("version") or (ref[1] if ref else "")
    return Module(name=block.labels[0], source=url, version=version)


def _refuse_lost_state(source: Source, found: Sequence[tuple[str, hcl.Block]]) -> None:
    """A state beside the files would be thrown away with the checkout, and everything be made again."""
    asked: Input = source.config.spec.input
    flags = (*asked.command_flags.shared, *asked.command_flags.init)
    if any(flag.lstrip("-").startswith(("backend-config", "state=/")) for flag in flags):
        return
    for file, block in found:
        for backend in block.blocks if block.kind == "terraform" else ():
            if backend.kind == "cloud" or (backend.kind == "backend" and backend.labels != ("local",)):
                return
            if backend.kind == "backend":
                path = backend.attributes.get("path", "terraform.tfstate")
                if PurePosixPath(path).is_absolute():
                    return
                raise lost(path, Place(file, backend.line, "terraform.backend.local"))
    raise lost("terraform.tfstate", Place(_shown(source, source.directory), key="terraform.backend"))


def lost(path: str, where: Place) -> Refused:
    return Refused(
        f"Terraform's state would be kept in {path}, in a checkout that is thrown away",
        remedy=LASTING,
        place=where,
    )
