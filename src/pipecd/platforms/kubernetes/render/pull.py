"""Charts of repositories and registries: pulled once, and kept as archives in a bounded cache."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

from pipecd.errors import ConfigError, Place
from pipecd.model.downloads import ChartRepository
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import HelmChart
from pipecd.platforms.kubernetes.render.chart import is_exact
from pipecd.platforms.kubernetes.render.files import run
from pipecd.platforms.kubernetes.render.homes import helm_home

#: Of the cache: bytes of all archives, and their number. Of one archive, bytes.
MAX_CACHE, MAX_ARCHIVES, MAX_ARCHIVE = 512 * 1024 * 1024, 1000, 64 * 1024 * 1024
#: Of one download (seconds).
TIMEOUT = 120.0
#: How old an index may be if the newest version is wanted (seconds).
MAX_INDEX_AGE = 300.0
#: A download that is older was left by a process that was killed (seconds).
LEFTOVER_SECONDS = 3600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_NOT_FOUND = ("not found", "helm repo update", "no chart version", "no cached repo", "no such file")
_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


def is_pinned(chart: HelmChart) -> bool:
    """Whether the same archive is pulled each time."""
    return is_exact(chart.version)


async def pull_chart(
    source: Source, chart: HelmChart, helm: Path, directory: Path, *, max_archives: int = MAX_ARCHIVES
) -> Path:
    """The chart's archive, in `directory`. Raises ConfigError if there is no such chart, or Temporary.

    At most `max_archives` are kept.
    """
    repository = _repository(source, chart)
    if not _NAME.fullmatch(chart.name):
        raise _error(source, f"{chart.name!r} is not the name of a chart", "correct helmChart.name", "name")
    cache = source.downloads.cache
    store = (cache / "charts") if cache else directory / "charts"
    archive = store / f"{_key(repository.address if repository else chart.repository, chart)}.tgz"
    lock = _locks.setdefault(str(archive if is_pinned(chart) else store / chart.repository), asyncio.Lock())
    async with lock:
        used = directory / "chart.tgz"
        if not (is_pinned(chart) and await asyncio.to_thread(_take, archive, used)):
            await asyncio.to_thread(store.mkdir, parents=True, exist_ok=True, mode=0o700)
            pulled = await _pull(source, chart, repository, helm, store)
            try:
                await asyncio.to_thread(shutil.copyfile, pulled, used)
                if is_pinned(chart):
                    await asyncio.to_thread(_put, pulled, archive, max_archives)
            finally:
                pulled.unlink(missing_ok=True)
        return used


def _repository(source: Source, chart: HelmChart) -> ChartRepository | None:
    """The agent's repository of that name; None for a registry. Raises ConfigError."""
    if chart.repository.startswith("oci://"):
        return None
    repositories = source.downloads.chart_repositories
    for repository in repositories:
        if repository.name == chart.repository:
            return repository
    names = ", ".join(repository.name for repository in repositories) or "none"
    raise _error(
        source,
        f"the agent has no chart repository {chart.repository!r}; it has: {names}",
        "add it to spec.chartRepositories of the agent, or write oci://host/path",
        "repository",
    )


async def _pull(
    source: Source, chart: HelmChart, repository: ChartRepository | None, helm: Path, store: Path
) -> Path:
    """A new archive in `store`."""
    repositories = [repository] if repository else []
    downloads = replace(source.downloads, chart_repositories=repositories)
    indexes = store / "indexes"
    lock = _locks.setdefault(str(indexes / chart.repository), asyncio.Lock())
    # The index of one repository is written by one program at a time.
    async with lock:
        with (
            tempfile.TemporaryDirectory(dir=store) as target,
            helm_home(downloads, index_directory=indexes) as environment,
        ):
            updated = bool(repository) and not _is_fresh(indexes, chart)
            if repository and updated:
                await _update_index(source, repository, helm, environment)
            argv = _pull_command(chart, repository, helm, target)
            try:
                await run(argv, source, environment, "helm pull", TIMEOUT, downloads=True)
            except ConfigError as error:
                if not repository or updated or not any(word in error.what for word in _NOT_FOUND):
                    raise
                await _update_index(source, repository, helm, environment)
                await run(argv, source, environment, "helm pull", TIMEOUT, downloads=True)
            return await asyncio.to_thread(_find_archive, source, Path(target), store)


def _pull_command(
    chart: HelmChart, repository: ChartRepository | None, helm: Path, target: str
) -> Sequence[str | Path]:
    return [
        helm,
        "pull",
        f"{chart.repository.rstrip('/')}/{chart.name}",
        f"--destination={target}",
        *([f"--version={chart.version}"] if chart.version else []),
        *(["--insecure-skip-tls-verify"] if repository and repository.insecure else []),
    ]


def _is_fresh(indexes: Path, chart: HelmChart) -> bool:
    """Whether the index need not be read again before the chart is looked for."""
    try:
        age = time.time() - (indexes / f"{chart.repository}-index.yaml").stat().st_mtime
    except FileNotFoundError:
        return False
    return is_pinned(chart) or age < MAX_INDEX_AGE


async def _update_index(
    source: Source, repository: ChartRepository, helm: Path, environment: Mapping[str, str]
) -> None:
    argv: list[str | Path] = [helm, "repo", "update", repository.name]
    await run(argv, source, environment, "helm repo update", TIMEOUT, downloads=True)


def _find_archive(source: Source, target: Path, store: Path) -> Path:
    archives = list(target.glob("*.tgz"))
    if len(archives) != 1 or archives[0].is_symlink() or archives[0].stat().st_size > MAX_ARCHIVE:
        raise _error(
            source,
            f"the chart is not an archive of at most {MAX_ARCHIVE >> 20} MiB",
            "use another version of the chart",
            "name",
        )
    descriptor, name = tempfile.mkstemp(dir=store, suffix=".part")
    os.close(descriptor)
    return archives[0].replace(name)


def _key(address: str, chart: HelmChart) -> str:
    return hashlib.sha256(json.dumps([address, chart.name, chart.version]).encode()).hexdigest()[:32]


def _take(archive: Path, target: Path) -> bool:
    """Copy an archive of the cache to `target`. False if it is not there."""
    try:
        shutil.copyfile(archive, target)
        os.utime(archive)
    except FileNotFoundError:
        return False
    return True


def _put(pulled: Path, archive: Path, max_archives: int) -> None:
    """Keep an archive, and remove those that were not used for longest if there are too many."""
    pulled.replace(archive)
    _remove_leftovers(archive.parent)
    archives = sorted(
        ((path.stat().st_mtime_ns, path.stat().st_size, path) for path in archive.parent.glob("*.tgz")),
        reverse=True,
    )
    size = 0
    for number, (_, length, path) in enumerate(archives, start=1):
        size += length
        if size > MAX_CACHE or number > max_archives:
            path.unlink(missing_ok=True)


def _remove_leftovers(store: Path) -> None:
    """What a killed process left."""
    for path in (*store.glob("*.part"), *store.glob("tmp*")):
        if time.time() - path.lstat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _error(source: Source, what: str, remedy: str, key: str) -> ConfigError:
    place = Place(source.config.file, key=f"spec.input.helmChart.{key}")
    return ConfigError(what, remedy=remedy, place=place)
