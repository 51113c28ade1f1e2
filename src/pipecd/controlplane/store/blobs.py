"""Object storage in a directory or a bucket; objects are read and written as a whole.

Paths and contents are compatible with PipeCD, so that either control plane can read the other's objects.
Opened by `open_services`.
"""

import re
from typing import TypeVar

import obstore
from google.protobuf.message import Message
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore

from pipecd import proto_json
from pipecd.clock import SYSTEM_CLOCK, timeout
from pipecd.config.controlplane import ControlPlaneSpec
from pipecd.controlplane.settings import ObjectStoreSettings
from pipecd.controlplane.store.object_stores import DEFAULT_SETTINGS, open_store
from pipecd.errors import NotFound, Refused, Temporary
from pipecd.schema.model.analysis_pb2 import AnalysisResult
from pipecd.schema.model.live_state_pb2 import ApplicationLiveStateSnapshot

M = TypeVar("M", bound=Message)
_SEGMENT = re.compile(r"[A-Za-z0-9._@:=+-]{1,200}")
#: The code of S3 and of Google Cloud Storage, and the status in an error of the library.
_NO_BUCKET = "NoSuchBucket"
_STATUS = re.compile(r"status code: (\d{3})")


class Blobs:
    def __init__(self, store: ObjectStore, settings: ObjectStoreSettings = DEFAULT_SETTINGS) -> None:
        self._store, self._timeout = store, settings.call_timeout

    async def problem(self) -> str:
        """Why objects cannot be read, such as a bucket that does not exist; empty if they can be."""
        try:
            await self.read("never-written")
        except NotFound:
            pass
        except Temporary as error:
            return str(error)
        return ""

    async def read(self, path: str) -> bytes:
        """Raises NotFound or Temporary."""
        try:
            async with timeout(SYSTEM_CLOCK, self._timeout):
                return bytes(await (await obstore.get_async(self._store, path)).bytes_async())
        except (BaseError, OSError) as error:
            if _says_absent(error):
                raise NotFound(f"object {path} does not exist") from None
            raise Temporary(
                f"reading {path} from the object store failed: {_describe_error(error)}"
            ) from error

    async def write(self, path: str, data: bytes) -> None:
        """Replace the object atomically: readers see either the old or the new contents. Raises Temporary."""
        try:
            async with timeout(SYSTEM_CLOCK, self._timeout):
                await obstore.put_async(self._store, path, data)
        except (BaseError, OSError) as error:
            raise Temporary(f"writing {path} to the object store failed: {_describe_error(error)}") from error

    async def delete(self, path: str) -> None:
        """Delete the object, if it exists. Raises Temporary."""
        try:
            async with timeout(SYSTEM_CLOCK, self._timeout):
                await obstore.delete_async(self._store, path)
        except (BaseError, OSError) as error:
            if _says_absent(error):
                return
            raise Temporary(f"deleting {path} failed: {_describe_error(error)}") from error

    async def live_state(self, application_id: str) -> ApplicationLiveStateSnapshot:
        path = f"application-live-state/{application_id}.json"
        return await self._read_message(ApplicationLiveStateSnapshot, path)

    async def put_live_state(self, snapshot: ApplicationLiveStateSnapshot) -> None:
        await self._write_message(f"application-live-state/{segment(snapshot.application_id)}.json", snapshot)

    async def analysis_result(self, application_id: str) -> AnalysisResult:
        return await self._read_message(AnalysisResult, f"latest-analysis-result/{application_id}.json")

    async def put_analysis_result(self, application_id: str, result: AnalysisResult) -> None:
        await self._write_message(f"latest-analysis-result/{application_id}.json", result)

    async def shared_object(self, application_id: str, plugin: str, key: str) -> bytes:
        return await self.read(_shared_object_path(application_id, plugin, key))

    async def put_shared_object(self, application_id: str, plugin: str, key: str, data: bytes) -> None:
        await self.write(_shared_object_path(application_id, plugin, key), data)

    async def command_output(self, command_id: str) -> bytes:
        return await self.read(f"command-output/{segment(command_id)}.json")

    async def write_command_output(self, command_id: str, output: bytes) -> None:
        await self.write(f"command-output/{segment(command_id)}.json", output)

    async def delete_command_outputs(self, before: int) -> int:
        """Delete outputs last written before `before` (epoch seconds); returns their number."""
        deleted = 0
        try:
            async for page in obstore.list(self._store, "command-output/"):
                old = [item["path"] for item in page if item["last_modified"].timestamp() < before]
                if old:
                    await obstore.delete_async(self._store, old)
                deleted += len(old)
        except (BaseError, OSError) as error:
            raise Temporary(f"deleting command outputs failed: {_describe_error(error)}") from error
        return deleted

    async def _read_message(self, kind: type[M], path: str) -> M:
        return proto_json.loads(kind, await self.read(path))

    async def _write_message(self, path: str, message: Message) -> None:
        await self.write(path, proto_json.dumps(message).encode())


def open_blobs(spec: ControlPlaneSpec, settings: ObjectStoreSettings = DEFAULT_SETTINGS) -> Blobs:
    """Open the configured store. Raises ConfigError if it is unusable, Temporary if it is unavailable."""
    return Blobs(open_store(spec.filestore, settings), settings)


def _shared_object_path(application_id: str, plugin: str, key: str) -> str:
    return f"application-shared-objects/{segment(application_id)}/{segment(plugin)}/{segment(key)}.json"


def segment(name: str) -> str:
    """`name`, checked to be a single path segment that cannot leave its directory. Raises Refused."""
    if not _SEGMENT.fullmatch(name) or set(name) == {"."}:
        raise Refused(f"{name!r} is not a valid part of an object path; use letters, digits and ._@:=+-")
    return name


def _says_absent(error: Exception) -> bool:
    """Whether there is no such object. A bucket that does not exist is another error."""
    return isinstance(error, NotFoundError | FileNotFoundError) and _NO_BUCKET not in str(error)


def _describe_error(error: Exception) -> str:
    """The reason for a user. The original error may contain an address with a signature."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    text = str(error)
    if "No space left" in text:
        return "no space left"
    if _NO_BUCKET in text:
        return "the bucket does not exist"
    status = _STATUS.search(text)
    if status is None:
        return "it is unreachable or not writable"
    if status[1] in ("401", "403"):
        return f"it refuses the credentials, or they lack a permission (HTTP {status[1]})"
    return f"it {'is unavailable' if status[1] >= '500' else 'refuses the request'} (HTTP {status[1]})"
