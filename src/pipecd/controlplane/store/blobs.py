"""Objects: what is written and read as a whole, in a directory or a bucket.

Paths and contents are PipeCD's, so that either control plane reads what the other wrote. Made by `run`.
"""

import re
from typing import TypeVar

import obstore
from google.protobuf.message import Message
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore

from pipecd import proto_json
from pipecd.config.controlplane import ControlPlaneSpec
from pipecd.controlplane.store.object_stores import open_store
from pipecd.errors import NotFound, Refused, Temporary
from pipecd.schema.model.analysis_pb2 import AnalysisResult
from pipecd.schema.model.live_state_pb2 import ApplicationLiveStateSnapshot

M = TypeVar("M", bound=Message)
_SEGMENT = re.compile(r"[A-Za-z0-9._@:=+-]{1,200}")


class Blobs:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, path: str) -> bytes:
        """Raises NotFound or Temporary."""
        try:
            return bytes(await (await obstore.get_async(self._store, path)).bytes_async())
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"there is no object {path}") from None
        except (BaseError, OSError) as error:
            raise Temporary(f"the object store does not answer for {path}") from error

    async def write(self, path: str, data: bytes) -> None:
        """Replaces the object as a whole: a reader sees the old one or the new one."""
        try:
            await obstore.put_async(self._store, path, data)
        except (BaseError, OSError) as error:
            raise Temporary(f"the object store does not take {path}: {_why(error)}") from error

    async def live_state(self, application_id: str) -> ApplicationLiveStateSnapshot:
        path = f"application-live-state/{application_id}.json"
        return await self._message(ApplicationLiveStateSnapshot, path)

    async def put_live_state(self, snapshot: ApplicationLiveStateSnapshot) -> None:
        await self._put(f"application-live-state/{segment(snapshot.application_id)}.json", snapshot)

    async def analysis_result(self, application_id: str) -> AnalysisResult:
        return await self._message(AnalysisResult, f"latest-analysis-result/{application_id}.json")

    async def put_analysis_result(self, application_id: str, result: AnalysisResult) -> None:
        await self._put(f"latest-analysis-result/{application_id}.json", result)

    async def shared_object(self, application_id: str, plugin: str, key: str) -> bytes:
        return await self.read(_shared(application_id, plugin, key))

    async def put_shared_object(self, application_id: str, plugin: str, key: str, data: bytes) -> None:
        await self.write(_shared(application_id, plugin, key), data)

    async def command_output(self, command_id: str) -> bytes:
        return await self.read(f"command-output/{segment(command_id)}.json")

    async def write_command_output(self, command_id: str, output: bytes) -> None:
        await self.write(f"command-output/{segment(command_id)}.json", output)

    async def forget_command_outputs(self, before: int) -> int:
        """Deletes those that were written before that second; how many they were."""
        forgotten = 0
        try:
            async for found in obstore.list(self._store, "command-output/"):
                old = [one["path"] for one in found if one["last_modified"].timestamp() < before]
                if old:
                    await obstore.delete_async(self._store, old)
                forgotten += len(old)
        except (BaseError, OSError) as error:
            raise Temporary(f"the object store does not answer for command outputs: {_why(error)}") from error
        return forgotten

    async def _message(self, kind: type[M], path: str) -> M:
        return proto_json.loads(kind, await self.read(path))

    async def _put(self, path: str, message: Message) -> None:
        await self.write(path, proto_json.dumps(message).encode())


def open_blobs(spec: ControlPlaneSpec) -> Blobs:
    """The configured store. Raises ConfigError when it cannot be used, Temporary when it is away."""
    return Blobs(open_store(spec))


def _shared(application_id: str, plugin: str, key: str) -> str:
    return f"application-shared-objects/{segment(application_id)}/{segment(plugin)}/{segment(key)}.json"


def segment(name: str) -> str:
    """A path's part that cannot climb out of its folder."""
    if not _SEGMENT.fullmatch(name) or set(name) == {"."}:
        raise Refused(f"{name!r} cannot be part of an object's name; use letters, digits and ._@:=+-")
    return name


def _why(error: Exception) -> str:
    return "no space is left" if "No space left" in str(error) else "it cannot be reached or written"
