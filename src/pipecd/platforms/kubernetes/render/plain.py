"""Plain manifest files."""

from pathlib import Path

from pipecd.config.document import read_file
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import Input
from pipecd.platforms.kubernetes.manifest import MAX_BYTES, ManifestReader
from pipecd.platforms.kubernetes.render.files import inside

_MISSING = "create it, or correct spec.input.manifests"
_SUFFIXES = (".yaml", ".yml", ".json")
#: Files with these names configure applications, in PipeCD too.
_CONFIGURATION = ("app.pipecd.yaml", ".pipe.yaml")


def read(source: Source, app_input: Input, reader: ManifestReader) -> None:
    """Raises ConfigError with file and line."""
    paths = (
        [inside(source, name, "spec.input.manifests") for name in app_input.manifests]
        if app_input.manifests
        else _all_files(source)
    )
    for path in paths:
        file = source.relative(path)
        reader.read(read_file(path, file, missing=_MISSING, max_size=MAX_BYTES), file)


def _all_files(source: Source) -> list[Path]:
    """Those directly in the application's directory, by name."""
    own = Path(source.config.file).name
    return [
        inside(source, path.name, "spec.input.manifests")
        for path in sorted(source.directory.iterdir())
        if path.suffix in _SUFFIXES and path.is_file() and not _is_configuration(path.name, own)
    ]


def _is_configuration(name: str, own: str) -> bool:
    return name in (own, *_CONFIGURATION) or name.endswith(".pipecd.yaml")
