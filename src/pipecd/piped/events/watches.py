"""Which events a repository watches: `eventWatcher` of its applications, and files in `.pipe`."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import structlog

from pipecd.config.document import parse
from pipecd.config.event_watcher import (
    KIND,
    SHARED_DIRECTORY,
    EventWatch,
    Replacement,
    SharedEventWatch,
    decode_shared,
)
from pipecd.config.piped import EventRepository
from pipecd.errors import ConfigError, Place
from pipecd.git.mirror import Mirrors
from pipecd.model.event import event_key
from pipecd.piped.source.heads import AppFile, Head

log = structlog.get_logger()

_SUFFIXES = (".yaml", ".yml", ".json")
#: Files of one repository.
MAX_SHARED_FILES = 1000
_DEFAULT_SETTINGS = EventRepository(repoId="default")  # type: ignore[call-arg]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Where the data of events with one name and labels is written in one repository."""

    #: Unique in the repository.
    id: str
    #: The application's name, or the name of the file in `.pipe`.
    owner: str
    event_name: str
    key: str
    #: That paths of `replacements` are relative to; empty for the root of the repository.
    directory: str
    replacements: Sequence[Replacement]
    commit_message: str
    branch: str
    make_pull_request: bool


class WatchReader:
    """Reads watches from Git. The files in `.pipe` are read again only when the directory has changed."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors
        #: By repository: the hash of `.pipe`, and the watches in it.
        self._shared: dict[str, tuple[str, Sequence[Watch]]] = {}

    async def read(
        self, head: Head, applications: Collection[str], settings: EventRepository | None
    ) -> Sequence[Watch]:
        """The watches at `head`. `applications` are the paths of the files of the agent's applications.

        A file in `.pipe` that is invalid is logged and does not affect the others.
        """
        watches = [
            watch for path in sorted(applications) for watch in _of_application(path, head.files.get(path))
        ]
        return [*watches, *await self._read_shared(head, settings or _DEFAULT_SETTINGS)]

    async def _read_shared(self, head: Head, settings: EventRepository) -> Sequence[Watch]:
        tree = head.directories.get(SHARED_DIRECTORY, "")
        known = self._shared.get(head.repository.id)
        if known is None or known[0] != tree:
            watches = await _load_shared(self._mirrors, head, settings) if tree else []
            known = self._shared[head.repository.id] = (tree, watches)
        return known[1]


def _of_application(path: str, file: AppFile | ConfigError | None) -> Iterator[Watch]:
    if not isinstance(file, AppFile):
        return
    directory = str(PurePosixPath(path).parent)
    for index, watch in enumerate(file.event_watcher):
        yield _watch(f"{path}#{index}", file.name or path, directory, watch)


def _watch(watch_id: str, owner: str, directory: str, watch: EventWatch) -> Watch:
    handler = watch.handler.config
    return Watch(
        id=watch_id,
        owner=owner,
        event_name=watch.matcher.name,
        key=event_key(watch.matcher.name, watch.matcher.labels),
        directory="" if directory == "." else directory,
        replacements=handler.replacements,
        commit_message=handler.commit_message,
        branch=handler.branch,
        make_pull_request=handler.make_pull_request,
    )


async def _load_shared(mirrors: Mirrors, head: Head, settings: EventRepository) -> Sequence[Watch]:
    remote = head.repository.remote
    entries = await mirrors.entries(remote, head.commit.hash, SHARED_DIRECTORY)
    files = {entry.path: entry.hash for entry in entries if entry.is_file and _is_read(entry.path, settings)}
    if len(files) > MAX_SHARED_FILES:
        log.error("event_watcher_files_omitted", repository=head.repository.id, limit=MAX_SHARED_FILES)
        files = dict(list(files.items())[:MAX_SHARED_FILES])
    contents = await mirrors.read_blobs(remote, list(files.values()))
    return await asyncio.to_thread(_decode_all, files, contents, settings, head.repository.id)


def _is_read(path: str, settings: EventRepository) -> bool:
    if not path.endswith(_SUFFIXES):
        return False
    relative = path.removeprefix(f"{SHARED_DIRECTORY}/")
    names = (relative, PurePosixPath(relative).name)
    if settings.excludes:
        return not any(fnmatchcase(name, glob) for name in names for glob in settings.excludes)
    return not settings.includes or any(
        fnmatchcase(name, glob) for name in names for glob in settings.includes
    )


def _decode_all(
    files: Mapping[str, str], contents: Mapping[str, bytes], settings: EventRepository, repo_id: str
) -> Sequence[Watch]:
    watches: list[Watch] = []
    for path, blob in sorted(files.items()):
        try:
            watches += _decode(path, contents.get(blob), settings)
        except ConfigError as error:
            log.error("event_watcher_file_invalid", repository=repo_id, error=str(error))
    return watches


def _decode(path: str, content: bytes | None, settings: EventRepository) -> Iterator[Watch]:
    if content is None:
        raise ConfigError("the file is too large", place=Place(path))
    try:
        document = parse(content.decode(), path)
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", remedy="save it as UTF-8", place=Place(path)) from None
    if document.kind == KIND:
        for index, watch in enumerate(decode_shared(document).events):
            yield _shared_watch(f"{path}#{index}", path, watch, settings)


def _shared_watch(watch_id: str, path: str, watch: SharedEventWatch, settings: EventRepository) -> Watch:
    return Watch(
        id=watch_id,
        owner=PurePosixPath(path).stem,
        event_name=watch.name,
        key=event_key(watch.name, watch.labels),
        directory="",
        replacements=watch.replacements,
        commit_message=settings.commit_message,
        branch="",
        make_pull_request=False,
    )
