"""Copies the objects of PipeCD's object store that cannot be made again.

These are logs of stages, results of analyses, and shared objects of plugins.
Paths and contents are the same on both sides, so that with the same bucket nothing is to be done.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from pipecd.config.controlplane import FILESTORES, Filestore, filestore_config
from pipecd.config.decode import decode
from pipecd.config.document import Document
from pipecd.controlplane.moving.records import Result
from pipecd.controlplane.store.object_stores import open_store
from pipecd.errors import Temporary

#: Counted under this name in a `Result`.
NAME = "Object"
#: Folders whose objects are copied. Live states and outputs of commands are made again.
FOLDERS = ("log/", "latest-analysis-result/", "application-shared-objects/")
#: Objects that are copied at the same time. One is at most some MiB.
_CONCURRENCY = 8


class Source(NamedTuple):
    """PipeCD's object store."""

    filestore: Filestore
    store: ObjectStore


def open_source(document: Document) -> Source | None:
    """The object store in PipeCD's configuration file. Raises ConfigError or Temporary."""
    content = document.spec.get("filestore") if isinstance(document.spec, Mapping) else None
    if content is None:
        return None
    store = decode(Filestore, content, document, ("spec", "filestore"))
    decode(FILESTORES[store.type], store.config, document, ("spec", "filestore", "config"))
    return Source(store, open_store(store))


async def copy_files(source: Source, target: Filestore, result: Result) -> None:
    """Copy what does not exist in the target, unless both are the same directory or bucket.

    Raises Temporary or ConfigError; can be repeated.
    """
    if _location(source.filestore) == _location(target):
        return
    await _Copying(source.store, open_store(target), result).run()


def _location(filestore: Filestore) -> tuple[object, ...]:
    config = filestore_config(filestore)
    names = ("path", "bucket", "endpoint")
    return (type(config), *(getattr(config, name, "") for name in names))


async def _list(store: ObjectStore, folder: str, name: str) -> list[str]:
    """The paths of the objects in a folder. `name` is the store in errors."""
    try:
        return [item["path"] async for page in obstore.list(store, folder) for item in page]
    except (BaseError, OSError) as error:
        # The original error may contain an address with a signature.
        raise Temporary(
            f"the objects in {folder} of {name} cannot be listed; check its bucket, credentials and rights in"
            " spec.filestore"
        ) from error


class _Copying:
    def __init__(self, source: ObjectStore, target: ObjectStore, result: Result) -> None:
        self._source, self._target, self._result = source, target, result

    async def run(self) -> None:
        for folder in FOLDERS:
            existing = set(await _list(self._target, folder, "the new file store"))
            found = await _list(self._source, folder, "PipeCD's file store")
            self._result.existing[NAME] += len(existing.intersection(found))
            missing = iter([path for path in found if path not in existing])
            await asyncio.gather(*(self._copy_each(missing) for _ in range(_CONCURRENCY)))

    async def _copy_each(self, paths: Iterator[str]) -> None:
        for path in paths:
            try:
                data = await (await obstore.get_async(self._source, path)).bytes_async()
                await obstore.put_async(self._target, path, data)
                self._result.imported[NAME] += 1
            except (BaseError, OSError):
                # The original error may contain an address with a signature.
                self._result.add_problem(NAME, f"{path} could not be copied")
