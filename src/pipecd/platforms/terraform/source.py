"""Reads the files of a Terraform application without running Terraform.

Called by the planner, to find the displayed versions and to reject invalid configurations early.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipecd import hcl
from pipecd.config import document
from pipecd.errors import ConfigError, Place, Refused
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.stage import Source
from pipecd.platforms.terraform.config import Input

#: Bytes of a Terraform file. Generated ones are large.
MAX_FILE_SIZE = 16 * 1024 * 1024
_SUFFIXES = (".tf", ".tofu", ".tf.json", ".tofu.json")
BACKEND_REMEDY = "configure a persistent backend, such as s3, gcs or azurerm, or local with an absolute path"


@dataclass(frozen=True, kw_only=True)
class Module:
    """A `module` block. `version` is empty if none is set."""

    name: str
    source: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Files:
    """The contents of an application's directory."""

    modules: Sequence[Module]
    #: Whether any stage runs Terraform. Otherwise its configuration is not read.
    terraform: bool = True


def load_desired_state(source: Source) -> Files:
    """Raises ConfigError or Refused, with the place, if Terraform could not run."""
    if not runs_terraform(source):
        return Files(modules=(), terraform=False)
    blocks = list(_blocks(source))
    var_files(source)
    _refuse_lost_state(source, blocks)
    return Files(modules=[_module(block) for _, block in blocks if block.kind == "module" and block.labels])


def versions(files: Files) -> Sequence[Version]:
    if not files.modules:
        return (Version(kind=VersionKind.UNKNOWN, version="N/A"),)
    return tuple(
        Version(
            kind=VersionKind.TERRAFORM_MODULE,
            version=module.version or "N/A",
            name=module.name,
            url=module.source,
        )
        for module in files.modules
    )


def var_files(source: Source) -> Sequence[str]:
    """The configured variable files. Raises ConfigError unless each is a file of the repository."""
    names: Sequence[str] = source.config.spec.input.var_files
    root = source.root.resolve()
    for index, name in enumerate(names):
        path = (source.directory / name).resolve()
        if PurePosixPath(name).is_absolute() or not path.is_relative_to(root):
            problem, remedy = f"{name} is outside the repository", "move it into the repository"
        elif not path.is_file():
            problem, remedy = (
                f"file {name} not found",
                "add it, or correct its path relative to the application's directory",
            )
        else:
            continue
        raise ConfigError(problem, remedy=remedy, place=input_place(source, "varFiles", index))
    return names


def var_file_paths(source: Source) -> Sequence[Path]:
    """The configured variable files, which may be outside the application's directory."""
    return [source.directory / name for name in source.config.spec.input.var_files]


def input_place(source: Source, *key: str | int) -> Place:
    """The place of `key` of `spec.input` in the application's file."""
    file = source.config.file
    parsed = document.parse((source.root / file).read_text(), file)
    classic = ("spec", "input", *key)
    plugin = ("spec", "plugins", "terraform", *key)
    return parsed.place(plugin if plugin[:3] in parsed.lines and classic[:2] not in parsed.lines else classic)


def runs_terraform(source: Source) -> bool:
    """False for a pipeline without Terraform stages, whose directory needs no Terraform configuration."""
    pipeline = source.config.spec.pipeline
    return pipeline is None or any(stage.name.startswith("TERRAFORM_") for stage in pipeline.stages)


def _blocks(source: Source) -> Iterator[tuple[str, hcl.Block]]:
    """Each top-level block with its file."""
    files = sorted(
        file for file in source.directory.iterdir() if file.name.endswith(_SUFFIXES) and file.is_file()
    )
    if not files:
        raise ConfigError(
            "no *.tf file in the application's directory",
            remedy="move the configuration there, or correct the application's path",
            place=Place(_relative(source, source.directory)),
        )
    for file in files:
        name = _relative(source, file)
        text = document.read_file(file, name, missing="add it", max_size=MAX_FILE_SIZE)
        read = hcl.read_json if file.suffix == ".json" else hcl.read
        yield from ((name, block) for block in read(text, name))


def _relative(source: Source, path: Path) -> str:
    return str(path.resolve().relative_to(source.root.resolve()))


def _module(block: hcl.Block) -> Module:
    url = block.attributes.get("source", "")
    ref = re.search(r"[?&]ref=([^&]+)", url)
    version = block.attributes.get("version") or (ref[1] if ref else "")
    return Module(name=block.labels[0], source=url, version=version)


def _refuse_lost_state(source: Source, blocks: Sequence[tuple[str, hcl.Block]]) -> None:
    """A state in the checkout would be deleted with it, and all resources created again."""
    app_input: Input = source.config.spec.input
    flags = (*app_input.command_flags.shared, *app_input.command_flags.init)
    if any(flag.lstrip("-").startswith(("backend-config", "state=/")) for flag in flags):
        return
    for file, block in blocks:
        for backend in block.blocks if block.kind == "terraform" else ():
            if backend.kind == "cloud" or (backend.kind == "backend" and backend.labels != ("local",)):
                return
            if backend.kind == "backend":
                path = backend.attributes.get("path", "terraform.tfstate")
                if PurePosixPath(path).is_absolute():
                    return
                raise lost_state_error(path, Place(file, backend.line, "terraform.backend.local"))
    raise lost_state_error(
        "terraform.tfstate", Place(_relative(source, source.directory), key="terraform.backend")
    )


def lost_state_error(path: str, place: Place) -> Refused:
    return Refused(
        f"Terraform's state would be stored in {path}, in a temporary checkout",
        remedy=BACKEND_REMEDY,
        place=place,
    )
