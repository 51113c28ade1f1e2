"""A chart in a checkout: which directories it is made of, and what it needs from elsewhere.

Charts are written by authors of a repository, who may be hostile. Nothing of a chart may be outside the
repository, neither by its path, nor by a link or a `file://` dependency.
"""

import gzip
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipecd.config.document import read_file
from pipecd.errors import ConfigError, Place
from pipecd.git.links import paths_below, refuse_escaping_links
from pipecd.platforms.kubernetes.yaml_reader import read_documents

#: Of a chart that is copied, or searched for a word.
MAX_FILES, MAX_BYTES = 20_000, 256 * 1024 * 1024
_MAX_FILE = 1024 * 1024
#: Of charts that refer to one another.
_MAX_CHARTS = 100
_EXACT = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


def is_exact(version: str) -> bool:
    """Whether it names one version, and not a range or the newest one."""
    return bool(_EXACT.fullmatch(version.strip()))


@dataclass(frozen=True, kw_only=True)
class LocalChart:
    """`directories` are its own, first, and those of its `file://` dependencies."""

    directories: Sequence[Path]
    #: Whether a rendering writes dependencies into `charts/`.
    writes: bool
    #: The addresses that dependencies are downloaded from.
    repositories: Collection[str]
    #: Whether a dependency is downloaded of which the chart does not say the exact version.
    floating: bool


def read_chart(root: Path, directory: Path, file: str) -> LocalChart:
    """The chart in `directory` of the checkout `root`. Raises ConfigError and Refused. Call it in a thread.

    `file` is what errors call `root`: the repository, or the application's file.
    """
    real_root = root.resolve()
    directories: list[Path] = []
    waiting = [directory]
    repositories: set[str] = set()
    writes = floating = False
    while waiting:
        chart = waiting.pop(0)
        if chart in directories:
            continue
        directories.append(chart)
        if len(directories) > _MAX_CHARTS:
            raise ConfigError(f"the chart depends on more than {_MAX_CHARTS} other charts", place=Place(file))
        refuse_escaping_links(root, chart)
        for name, version, repository in _dependencies(chart, _name(chart, real_root)):
            present = _is_present(chart, name)
            writes = writes or not present
            if not repository.startswith("file:"):
                repositories.add(repository)
                floating = floating or not (present or is_exact(version))
                continue
            other = _local(chart, repository, real_root)
            if (other / "Chart.yaml").is_file():
                waiting.append(other)
    return LocalChart(directories=directories, writes=writes, repositories=repositories, floating=floating)


def _local(chart: Path, repository: str, root: Path) -> Path:
    """The directory of a dependency, as Helm resolves it."""
    path = repository.removeprefix("file://")
    other = Path(os.path.normpath(chart / path))
    if Path(path).is_absolute() or not Path(os.path.realpath(other)).is_relative_to(root):
        raise ConfigError(
            f"the dependency {repository} is outside the repository",
            remedy="write a path inside the repository, relative to the chart",
            place=Place(f"{_name(chart, root)}/Chart.yaml"),
        )
    return other


def _name(chart: Path, root: Path) -> str:
    return str(chart.relative_to(root)) if chart.is_relative_to(root) else chart.name


def _dependencies(chart: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """Name, version and repository of each. Charts of the first format have them in a file of their own."""
    for file in ("Chart.yaml", "requirements.yaml"):
        path = chart / file
        if not path.is_file():
            continue
        text = read_file(path, f"{name}/{file}", missing="", max_size=_MAX_FILE)
        for document in read_documents(text, f"{name}/{file}"):
            items = document.data.get("dependencies") if isinstance(document.data, Mapping) else None
            for item in items if isinstance(items, list) else ():
                if isinstance(item, Mapping):
                    yield _text(item, "name"), _text(item, "version"), _text(item, "repository")


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return "" if value is None else str(value)


def _is_present(chart: Path, name: str) -> bool:
    """Whether `charts/` has the dependency, as a directory or an archive. Helm then downloads nothing."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or name in (".", ".."):
        return False
    charts = chart / "charts"
    return (charts / name / "Chart.yaml").is_file() or any(
        is_exact(path.name.removeprefix(f"{name}-").removesuffix(".tgz"))
        for path in charts.glob(f"{name}-*.tgz")
    )


def copy_chart(chart: LocalChart, root: Path, target: Path) -> Path:
    """Copy the chart and its dependencies to the same paths below `target`. Returns its directory.

    Raises ConfigError for a chart of unusual size.
    """
    real_root = root.resolve()
    files = size = 0
    for directory in chart.directories:
        for path in paths_below(directory):
            files, size = files + 1, size + path.lstat().st_size
            if files > MAX_FILES or size > MAX_BYTES:
                raise ConfigError(
                    f"the chart has more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB",
                    remedy="move it into a directory of its own",
                    place=Place(_name(directory, real_root)),
                )
    for directory in chart.directories:
        shutil.copytree(
            directory, target / directory.relative_to(real_root), symlinks=True, dirs_exist_ok=True
        )
    return target / chart.directories[0].relative_to(real_root)


def mentions(paths: Sequence[Path], word: bytes) -> bool:
    """Whether a file in `paths`, also in an archive, contains `word`. True also for what is too large."""
    files = size = 0
    for start in paths:
        for path in [start] if start.is_file() else paths_below(start):
            if not path.is_file():
                continue
            files, size = files + 1, size + path.stat().st_size
            if files > MAX_FILES or size > MAX_BYTES:
                return True
            found = _archive_mentions(path, word) if path.suffix == ".tgz" else word in path.read_bytes()
            if found:
                return True
    return False


def _archive_mentions(path: Path, word: bytes) -> bool:
    size = 0
    try:
        # In this way, because tarfile itself cannot skip the field that Helm adds to the header.
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                size += max(member.size, 0)
                if size > MAX_BYTES:
                    return True
                content = archive.extractfile(member) if member.isfile() else None
                if content and word in content.read():
                    return True
    except (tarfile.TarError, zlib.error, OSError, EOFError):
        return True
    return False
