"""What a Kustomize overlay is made of, found by reading its kustomization files.

Kustomize itself restricts files to the directory of their kustomization file, unless a flag lifts that, but
takes bases from any directory. The author of an overlay may be hostile, so that everything it refers to must
be in the repository. Remote bases are restricted by Kustomize to their own repository.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipecd.config.document import read_file
from pipecd.errors import ConfigError, Place
from pipecd.git.links import refuse_escaping_links
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.render.chart import is_exact
from pipecd.platforms.kubernetes.render.value_files import is_allowed_host
from pipecd.platforms.kubernetes.yaml_reader import read_documents
from pipecd.remotes import http_origin

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
#: Of kustomization files that refer to one another, and bytes of one.
MAX_FILES, MAX_SIZE = 1000, 1024 * 1024
#: Lists of files and directories, of which some may be written inline, and lists of entries with a `path`.
_PATHS = ("resources", "bases", "components", "crds", "configurations", "patchesStrategicMerge")
_PLUGINS = ("generators", "transformers", "validators")
_ENTRIES = ("patches", "patchesJson6902", "replacements")
_REF = re.compile(r"[?&](?:ref|version)=([^&]+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REMOTE = re.compile(
    r"^(git::)?[a-z][a-z0-9+.-]*://|^[^@/:]+@[^/:]+:|^(git::)?(github|gitlab|bitbucket)\.|//"
)


@dataclass
class Overlay:
    """`paths` are the directories and files, as written. `directories` have kustomization files."""

    paths: set[Path] = field(default_factory=set)
    directories: list[Path] = field(default_factory=list)
    #: Whether everything that it is made of is in `paths`, or is a commit of another repository.
    complete: bool = True
    #: Whether something is downloaded, and whether it may contain charts.
    remote: bool = False
    charts: bool = False


def find_file(directory: Path) -> Path | None:
    return next((directory / name for name in FILES if (directory / name).is_file()), None)


def read_overlay(source: Source, *, unrestricted: bool = False, helm: bool = False) -> Overlay:
    """Raises ConfigError for something outside the repository. Call it in a thread.

    `unrestricted`: Kustomize reads files of any directory, so that everything must be known. `helm`: charts
    are rendered.
    """
    return _Reader(source, unrestricted=unrestricted, helm=helm).read()


class _Reader:
    def __init__(self, source: Source, *, unrestricted: bool, helm: bool) -> None:
        self._source, self._unrestricted, self._helm = source, unrestricted, helm
        self._root = source.root.resolve()
        self._overlay = Overlay()
        self._file = ""

    def read(self) -> Overlay:
        waiting = [Path(os.path.normpath(self._source.directory.resolve()))]
        seen: set[Path] = set()
        while waiting:
            directory = waiting.pop()
            real = Path(os.path.realpath(directory))
            if real in seen:
                continue
            seen.add(real)
            if len(seen) > MAX_FILES:
                raise self._error(f"the overlay has more than {MAX_FILES} bases", "split the application")
            waiting += self._read_directory(directory)
        return self._overlay

    def _read_directory(self, directory: Path) -> list[Path]:
        """The directories that its kustomization file refers to."""
        file = find_file(directory)
        if file is None:
            return []
        self._overlay.directories.append(directory)
        self._overlay.paths.add(directory)
        self._file = str(file.relative_to(self._root)) if file.is_relative_to(self._root) else file.name
        self._check(Path(os.path.realpath(file)), file.name)
        found: list[Path] = []
        text = read_file(file, self._file, missing="", max_size=MAX_SIZE)
        for document in read_documents(text, self._file):
            if isinstance(document.data, Mapping):
                found += self._read_fields(directory, document.data)
        return found

    def _read_fields(self, directory: Path, data: Mapping[str, Any]) -> list[Path]:
        found = []
        for name in _local_names(data):
            self._add(directory, name)
        for key in _PATHS:
            for name in _texts(data.get(key)):
                path = self._add_resource(directory, name)
                if path and path.is_dir():
                    found.append(path)
        for key in _PLUGINS:
            if data.get(key):
                self._check_plugins(key)
            for name in _texts(data.get(key)):
                path = self._add_resource(directory, name)
                # What a plugin reads is written in its own file.
                self._overlay.complete = False
                if path and path.is_dir():
                    found.append(path)
        self._add_charts(directory, data)
        return found

    def _check_plugins(self, key: str) -> None:
        if self._unrestricted or self._helm:
            option = "load-restrictor" if self._unrestricted else "enable-helm"
            raise self._error(
                f"{key} cannot be combined with the option {option}, because the files that they read are not"
                " known",
                "use fields of the kustomization file instead",
            )

    def _add_resource(self, directory: Path, name: str) -> Path | None:
        """The path, if it is in the repository."""
        if "\n" in name:
            return None
        path = Path(os.path.normpath(directory / name))
        if not os.path.lexists(path) and _REMOTE.search(name):
            self._add_remote(name)
            return None
        return self._add(directory, name)

    def _add_remote(self, name: str) -> None:
        if self._unrestricted:
            raise self._error(
                f"{name!r} cannot be combined with the option load-restrictor, because it may read any file",
                "copy it into the repository",
            )
        url = name.removeprefix("git::")
        if "://" in url and urlsplit(url).scheme not in ("http", "https", "ssh"):
            raise self._error(f"{name!r} is not an https or ssh URL", "use an https or ssh URL")
        if "://" in url and not self._may_download(url):
            raise self._error(f"{name!r} is an address of the agent's machine", "use another URL")
        ref = _REF.search(name)
        self._overlay.remote = True
        self._overlay.complete = self._overlay.complete and bool(ref and _COMMIT.fullmatch(ref[1]))

    def _may_download(self, url: str) -> bool:
        if http_origin(url) in self._source.downloads.origins:
            return True
        return is_allowed_host(urlsplit(url).hostname or "")

    def _add(self, directory: Path, name: str) -> Path:
        path = Path(os.path.normpath(directory / name))
        self._check(Path(os.path.realpath(path)), name)
        self._overlay.paths.add(path)
        return path

    def _check(self, real: Path, name: str) -> None:
        if not real.is_relative_to(self._root):
            raise self._error(f"{name!r} is outside the repository", "use a file inside it")

    def _add_charts(self, directory: Path, data: Mapping[str, Any]) -> None:
        settings = data.get("helmGlobals")
        home = settings.get("chartHome") if isinstance(settings, Mapping) else None
        charts = [*_mappings(data.get("helmCharts")), *_mappings(data.get("helmChartInflationGenerator"))]
        for chart in charts:
            self._overlay.charts = True
            chart_home = chart.get("chartHome") or home or "charts"
            names = [
                chart.get("valuesFile"),
                chart.get("values"),
                *_texts(chart.get("additionalValuesFiles")),
            ]
            for name in names:
                if isinstance(name, str):
                    self._add(directory, name)
            found = self._add(directory, str(chart_home))
            if found.is_dir():
                refuse_escaping_links(self._source.root, found)
            name = str(chart.get("name") or chart.get("chartName") or "")
            if chart.get("repo") or chart.get("chartRepoUrl"):
                self._overlay.remote = True
                version = str(chart.get("version") or chart.get("chartVersion") or "")
                self._overlay.complete = self._overlay.complete and is_exact(version)
            elif not self._in_home(found, name):
                raise self._error(f"the chart {name!r} is outside {chart_home}", "correct its name")

    def _in_home(self, home: Path, name: str) -> bool:
        return Path(os.path.realpath(home / name)).is_relative_to(os.path.realpath(home))

    def _error(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(what, remedy=remedy, place=Place(self._file or self._source.config.file))


def _local_names(data: Mapping[str, Any]) -> Iterator[str]:
    """Files that cannot be remote, in any field."""
    for key in _ENTRIES:
        for entry in _mappings(data.get(key)):
            if isinstance(entry.get("path"), str):
                yield entry["path"]
    openapi = data.get("openapi")
    if isinstance(openapi, Mapping) and isinstance(openapi.get("path"), str):
        yield openapi["path"]
    settings = data.get("helmGlobals")
    if isinstance(settings, Mapping) and isinstance(settings.get("configHome"), str):
        yield settings["configHome"]
    for key in ("configMapGenerator", "secretGenerator"):
        for entry in _mappings(data.get(key)):
            for name in _texts(entry.get("files")):
                yield name.partition("=")[2] or name
            yield from _texts(entry.get("envs"))
            if isinstance(entry.get("env"), str):
                yield entry["env"]


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
